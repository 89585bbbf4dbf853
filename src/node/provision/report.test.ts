// What is said to the chain of a slot when it does not come through: the same word again, less and less often, and nothing else waits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ZosError } from '#codec'
import { type Grid, keyOf, noConsent, openRelayer, type SignedWord } from '#contract'
import type { Pinned, Said } from './pinned.ts'
import { reporter } from './report.ts'

type Hex = `0x${string}`
const group = `0x${'0a'.repeat(32)}` as Hex
const contract = `0x${'0c'.repeat(20)}` as Hex
const final = async () => ({ number: 1, hash: contract, timestamp: 1 })
const head = async () => 1n
const grid = {
  contract,
  domain: { chainId: 7, contract },
  engine: { finalized: final },
  client: { getBlockNumber: head },
} as unknown as Grid
const ids = ['web', 'db'].map((_, n) => `0x0${n}` as Hex)
const watched = (name: string) => ({
  group,
  name,
  taken: 0,
  held: '',
  said: {},
  released: [],
  dirty: false,
  consent: { ...noConsent(name), status: 'active' as const, sequence: 1 },
})
const running: Said = { sequence: 1, phase: 'running', reason: '' }

test('a word that does not come through is sent again as it was, after 5 s, doubled up to a minute', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1e12 })
  const pinned: Pinned = {
    cursor: null,
    groups: {},
    deployments: { [ids[0]!]: watched('web'), [ids[1]!]: watched('db') },
  }
  const words = new Map(ids.map((id) => [id, new Map([[0, running]])]))
  const sent: SignedWord[] = []
  const lines: string[] = []
  let failing: ZosError | undefined = new ZosError('Send transaction: nobody pays', { code: 'no-funds', kind: 'node' })
  const post = async (_: unknown, __: unknown, word: SignedWord) => {
    sent.push(word)
    if (failing) throw failing
  }
  const key = keyOf('node', Buffer.alloc(32, 'n'))
  const at = { grid, post, account: openRelayer(), key, node: 1, log: (line: string) => lines.push(line) }
  const report = reporter(at)

  assert.equal(await report.slots(pinned, words), false)
  assert.equal(sent.length, 2, 'the second is not kept waiting by the first')
  const first = sent[0]!
  let [times, seconds] = [0, 0]
  for (; seconds < 300; seconds++) {
    t.mock.timers.tick(1000)
    const before = sent.length
    await report.slots(pinned, new Map([[ids[0]!, words.get(ids[0]!)!]]))
    times += sent.length - before
    assert.equal(sent.at(-1) === first || sent.length === 2, true, 'signed once')
  }
  assert.equal(times, 7, 'after 5, 15, 35, 75, 135, 195, 255 s')
  assert.deepEqual(lines.length, 2)
  assert.match(lines[0]!, /^report web\/0: Send transaction: nobody pays$/)
  assert.equal(await report.beat(), false)

  failing = undefined
  t.mock.timers.tick(60_000)
  assert.equal(await report.slots(pinned, words), true)
  assert.deepEqual(
    Object.values(pinned.deployments).map(({ said }) => said),
    [{ 0: running }, { 0: running }],
  )
  assert.equal(await report.slots(pinned, words), false)
  assert.equal(await report.beat(), true)

  failing = new ZosError('Send transaction: no', { code: 'contract-NotTheOwner' })
  const failed: Said = { ...running, phase: 'failed', reason: 'it ended' }
  t.mock.timers.tick(10_000)
  assert.equal(await report.slots(pinned, new Map([[ids[0]!, new Map([[0, failed]])]])), true)
  assert.deepEqual(
    pinned.deployments[ids[0]!]!.said,
    { 0: failed },
    'the chain has given it to others: no word is needed',
  )
})
