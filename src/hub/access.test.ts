import assert from 'node:assert/strict'
import test from 'node:test'
import type { ChunkBackend } from '#cas'
import { openAccess } from './access.ts'
import { openAskers } from './asker.ts'
import { takeObject } from './objects.ts'
import type { Named } from './place.ts'

const [A, B, ID] = ['a', 'b', 'c'].map((c) => c.repeat(64)) as [string, string, string]
const ask = (by: string) => ({ by, grant: undefined, pass: undefined })
const breathe = () => new Promise<void>((done) => setImmediate(done))

/** Names and objects in memory; each step takes a turn of the loop. FAIL makes the next writing of a name fail. */
function place() {
  const names = new Map<string, Buffer>()
  const kept = new Map<string, Uint8Array>()
  const fault = { next: false }
  const named: Named = {
    async get(kind, name) {
      return names.get(`${kind}/${name}`)
    },
    async put(kind, name, bytes) {
      await breathe()
      if (fault.next) {
        fault.next = false
        throw new Error('the disk failed')
      }
      names.set(`${kind}/${name}`, Buffer.from(bytes))
    },
    async *names(kind) {
      for (const key of names.keys()) if (key.startsWith(`${kind}/`)) yield key.slice(kind.length + 1)
    },
  }
  const objects = {
    async has(id: string) {
      await breathe()
      return kept.has(id)
    },
    async put(id: string, stored: Uint8Array) {
      await breathe()
      kept.set(id, stored)
    },
  } as unknown as ChunkBackend
  return { named, objects, names, fault }
}

const policy = { uploaders: [A, B].map((key) => ({ key, name: key.slice(0, 1), quota: 1000 })) }
const others = { askers: openAskers([], undefined), groups: undefined }
const stored = Buffer.from('bytes')
const anything = () => undefined

test('two that bring one new object at the same time are both its owners, and one of them pays', async () => {
  const { named, objects } = place()
  const access = await openAccess(named, policy, others)
  await Promise.all([A, B].map((by) => takeObject(objects, access, anything, { id: ID, stored, by, owner: by })))
  assert.deepEqual([await access.mayRead(ID, ask(A)), await access.mayRead(ID, ask(B))], [true, true])
  assert.equal(
    [...access.used().values()].reduce((sum, n) => sum + n, 0),
    stored.length,
  )
})

test('what one brings for all while another brings it for themselves is for all', async () => {
  for (const order of [
    [undefined, A],
    [A, undefined],
  ]) {
    const { named, objects } = place()
    const access = await openAccess(named, undefined, others)
    await Promise.all(order.map((owner) => takeObject(objects, access, anything, { id: ID, stored, by: A, owner })))
    assert.equal(await access.mayRead(ID, ask(B)), true, String(order))
  }
})

test('usage that could not be written is written the next time', async () => {
  const { named, objects, names, fault } = place()
  const access = await openAccess(named, policy, others)
  await takeObject(objects, access, anything, { id: ID, stored, by: A, owner: undefined })
  fault.next = true
  await assert.rejects(access.flush())
  await access.flush()
  assert.equal(String(names.get(`usage/${A}`)), String(stored.length))
})
