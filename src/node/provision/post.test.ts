import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type Answer,
  carryWords,
  createFarm,
  deployContracts,
  formatWord,
  keyOf,
  openEmbedded,
  openGrid,
  openRelayer,
  readNode,
  registerNode,
  type SignedWord,
  signBeat,
} from '#contract'
import { sleep } from '#sys'
import { poster } from './post.ts'
import type { Carry } from './relayer.ts'

const OVERLAY = 'ab'.repeat(32)
const [node, owner] = ['node', 'owner'].map((name) => keyOf(name, Buffer.alloc(32, name))) as [
  ReturnType<typeof keyOf>,
  ReturnType<typeof keyOf>,
]
const capacity = { cpu: 4000, ram: 4096, ssd: 4096, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }

test('words go by the relayer; when it refuses, is silent, lies or keeps them back the node posts them, once each', {
  timeout: 180_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-post-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir }))
  const { contract, since } = await deployContracts(engine, openRelayer())
  const grid = openGrid(engine, contract, { since })
  const farm = await createFarm(grid, openRelayer(), owner.address, 'home')
  const attributes = { overlay: OVERLAY }
  const { id } = await registerNode(grid, openRelayer(), { node, owner }, { farm, capacity, country: 'DE', attributes })
  const [account, own] = [openRelayer(), openRelayer()]
  const carrier = carryWords(grid, account)
  const honest: Carry = async (word) => (await carrier.take(OVERLAY, formatWord(word)))!
  const made = async () =>
    Promise.all([account, own].map(({ account: { address } }) => grid.client.getTransactionCount({ address })))
  let time = Math.floor(Date.now() / 1000) - 100
  const next = (): SignedWord => {
    const { signature, ...beat } = signBeat(grid, node, id, ++time)
    return { beat, signature }
  }
  const says = (answer: Answer, asked = { times: 0 }): [Carry, { times: number }] => [
    async () => {
      asked.times++
      return answer
    },
    asked,
  ]
  const isThere = async () => assert.equal((await readNode(grid, id))!.seen, time)

  await poster(honest, () => {})(grid, own, next())
  await isThere()
  assert.deepEqual(await made(), [1, 0])

  await poster(undefined, () => {})(grid, own, next())
  await isThere()
  assert.deepEqual(await made(), [1, 1], 'no relayer is named')

  const [refuses, refused] = says({ state: 'refused', code: 'chain-failed', reason: 'no funds' })
  const byRefusing = poster(refuses, () => {})
  await byRefusing(grid, own, next())
  await byRefusing(grid, own, next())
  await isThere()
  assert.deepEqual([await made(), refused.times], [[1, 3], 2])

  const [lies, lied] = says({ state: 'posted', tx: `0x${'11'.repeat(32)}`, block: 1 })
  const byLying = poster(lies, () => {})
  for (let n = 0; n < 3; n++) await byLying(grid, own, next())
  await isThere()
  assert.deepEqual([await made(), lied.times], [[1, 6], 1], 'who lied is not asked again soon')

  const silent = { times: 0 }
  const bySilent = poster(
    async () => {
      silent.times++
      throw new Error('it has not answered')
    },
    () => {},
  )
  for (let n = 0; n < 3; n++) await bySilent(grid, own, next())
  await isThere()
  assert.deepEqual([await made(), silent.times], [[1, 9], 1])

  const slow: Carry = async (word) => {
    void sleep(600).then(() => honest(word))
    return { state: 'waiting' }
  }
  await poster(slow, () => {})(grid, own, next())
  await isThere()
  assert.deepEqual(await made(), [2, 9], 'what the relayer has is waited for')

  const [keeps] = says({ state: 'waiting' })
  const begun = performance.now()
  await poster(keeps, () => {})(grid, own, next(), 500)
  await isThere()
  assert.ok(performance.now() - begun >= 500)
  assert.deepEqual(await made(), [2, 10])

  // where gas costs something, and the node has nothing
  const dear: typeof engine = {
    ...engine,
    request: (call) => {
      const said: Record<string, string> = {
        eth_gasPrice: '0x1',
        eth_maxPriorityFeePerGas: '0x1',
        eth_getBalance: '0x0',
      }
      return said[call.method] ? Promise.resolve(said[call.method]) : engine.request(call)
    },
  }
  const there = openGrid(dear, contract, { since })
  const [refusesAgain, again] = says({ state: 'refused', code: 'no-funds', reason: '0xaa has 0 of the 0.1' })
  const poor = poster(refusesAgain, () => {})
  const said = /^Post what was signed: relayer: 0xaa has 0 of the 0.1; and this node has no funds$/
  const word = next()
  for (let n = 0; n < 2; n++) await assert.rejects(poor(there, own, word), { code: 'no-funds', message: said })
  assert.equal(again.times, 2, 'there is nobody else: it is asked each time')
  const late = poster(keeps, () => {})
  await assert.rejects(late(there, own, word, 0), { code: 'no-funds' })
  await honest(word)
  await late(there, own, word, 0)
  await isThere()
  assert.deepEqual(await made(), [3, 10], 'what came late is found, and not posted again')
})
