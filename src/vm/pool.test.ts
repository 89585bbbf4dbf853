import assert from 'node:assert/strict'
import test from 'node:test'
import { until } from '#sys'
import type { VmClass } from './args.ts'
import { createPool, type PoolOptions } from './pool.ts'

const small = { vcpus: 1, memoryMiB: 64 }
const large = { vcpus: 1, memoryMiB: 512 }

type Item = { alive: boolean; memoryMiB: number }

function counting(options: Partial<PoolOptions<VmClass, Item>> = {}) {
  const made: Item[] = []
  const pool = createPool<VmClass, Item>({
    nameOf: ({ memoryMiB }) => `${memoryMiB}`,
    create: async ({ memoryMiB }) => {
      const item = { alive: true, memoryMiB }
      made.push(item)
      return item
    },
    discard: async (item) => {
      item.alive = false
    },
    usable: (item) => item.alive,
    warm: [small],
    ...options,
  })
  return { pool, made }
}

test('two of the warm class wait; a claim takes one and never waits; a refill brings it back', async () => {
  const { pool } = counting()
  await using _ = pool
  assert.equal(pool.claim(small), undefined)
  pool.refill()
  await pool.settled()
  assert.equal(pool.size(), 2)
  assert.equal(pool.claim(small)?.memoryMiB, 64)
  assert.equal(pool.size(), 1)
  pool.refill()
  await pool.settled()
  assert.equal(pool.size(), 2)
})

test('a class that was asked for gets one; the dead are replaced; the bound holds', async () => {
  const { pool, made } = counting({ most: 3 })
  await using _ = pool
  assert.equal(pool.claim(large), undefined)
  pool.refill()
  await pool.settled()
  assert.equal(pool.size(), 3)
  const dead = made.find(({ memoryMiB }) => memoryMiB === 512)!
  dead.alive = false
  assert.equal(pool.claim(large), undefined)
  pool.refill()
  await pool.settled()
  assert.equal(pool.claim(large)?.alive, true)
})

test('nothing is left when it is drained, not even one that was being made', async () => {
  const gate = Promise.withResolvers<void>()
  const { pool, made } = counting({
    create: async () => {
      await gate.promise
      const item = { alive: true, memoryMiB: 64 }
      made.push(item)
      return item
    },
  })
  pool.refill()
  const drained = pool[Symbol.asyncDispose]()
  gate.resolve()
  await drained
  assert.deepEqual(made, [{ alive: false, memoryMiB: 64 }])
})

test('a failure is reported and does not spin', async () => {
  let tries = 0
  const errors: unknown[] = []
  const { pool } = counting({
    create: async () => {
      tries++
      throw new Error('disk full')
    },
    onError: (error) => errors.push(error),
  })
  pool.refill()
  pool.refill()
  await new Promise((done) => setTimeout(done, 20))
  assert.equal(tries, 1)
  assert.equal(errors.length, 1)
  await pool[Symbol.asyncDispose]()
})

test('what waits is polished when nobody wants anything, and cannot be claimed meanwhile', async () => {
  const gate = Promise.withResolvers<void>()
  const polished: Item[] = []
  const { pool } = counting({
    polish: async (item) => {
      polished.push(item)
      await gate.promise
    },
  })
  await using _ = pool
  pool.touch(small)
  pool.refill()
  await new Promise((done) => setTimeout(done, 100))
  assert.deepEqual([pool.size(), polished.length], [2, 0], 'not so soon after a start')
  await until('one to be polished', 10_000, () => polished.length > 0)
  assert.equal(polished.length, 1)
  const other = pool.claim(small)
  assert.ok(other && !polished.includes(other))
  assert.equal(pool.claim(small), undefined)
  gate.resolve()
  await new Promise((done) => setTimeout(done, 20))
  assert.equal(pool.claim(small), polished[0])
})
