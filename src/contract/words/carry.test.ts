import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import {
  type Grid,
  openGrid,
  openRelayer,
  readNode,
  readReports,
  readWords,
  registerNode,
  sendReport,
  signBeat,
  signReport,
} from '../actions/index.ts'
import type { Key } from '../keys/keys.ts'
import { key, openWorld, resources, root, slot, type World } from '../testing/world.ts'
import { PHASE } from '../typed/schema.ts'
import { carryWords } from './carry.ts'
import { type Answer, formatWord, MAX_WORD, type Word } from './form.ts'
import { isHeld } from './held.ts'

type Member = { id: number; key: Key; overlay: string }

const overlayOf = (n: number) => n.toString(16).padStart(64, '0')

/** A node whose record names its overlay key. */
async function member(w: World, n: number): Promise<Member> {
  const own = key(`m${n}`)
  const attributes = { name: `m${n}`, overlay: overlayOf(n) }
  const capacity = resources({ cpu: 4000, ram: 1024, ssd: 102400 })
  const { id } = await registerNode(
    w.grid,
    w.relayer,
    { node: own, owner: w.owner },
    { farm: w.farm, capacity, country: 'DE', attributes },
  )
  return { id, key: own, overlay: overlayOf(n) }
}

const beatOf = (grid: Grid, { key: own, id }: Member, time: number): Word => {
  const { signature, ...beat } = signBeat(grid, own, id, time)
  return { beat, signature }
}

async function world() {
  const w = await openWorld()
  const { grid } = w
  const members: Member[] = []
  for (let n = 1; n <= 5; n++) members.push(await member(w, n))
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', {
    specRoot: root(1),
    slots: members.slice(0, 3).map(({ id }, n) => slot(n, id)),
  })
  const account = await w.another()
  const carrier = carryWords(grid, account)
  const take = (m: Pick<Member, 'overlay'>, word: Word) => carrier.take(m.overlay, formatWord(word))
  const spent = () => grid.client.getTransactionCount({ address: account.account.address, blockTag: 'pending' })
  const reportOf = (
    n: number,
    more: { sequence?: number; reason?: string; phase?: 'running' | 'failed' } = {},
  ): Word => {
    const { id, key: own } = members[n]!
    return signReport(grid, own, { group, name: 'web', slot: n, node: id, sequence: 1, phase: 'running', ...more })
  }
  return { w, grid, members, group, carrier, take, spent, reportOf }
}

const codeOf = (answer: Answer | undefined): string | undefined =>
  answer?.state === 'refused' ? answer.code : answer?.state

test('words of many nodes: signs of life in one transaction, reports as they come; what is old is not posted again', {
  timeout: 180_000,
}, async () => {
  const { w, grid, members, group, carrier, take, spent, reportOf } = await world()
  await using _ = w
  const now = Math.floor(Date.now() / 1000)
  const beats = members.map((m) => beatOf(grid, m, now))
  const answers = await Promise.all(beats.map((b, n) => take(members[n]!, b)))
  assert.deepEqual(answers.map(codeOf), Array(5).fill('posted'))
  assert.equal(await spent(), 1)
  for (const m of members) assert.equal((await readNode(grid, m.id))!.seen, now)

  const reports = [0, 1, 2].map((n) => reportOf(n, { reason: 'since boot' }))
  const later = members.map((m) => beatOf(grid, m, now + 1))
  const both = [...reports.map((r, n) => take(members[n]!, r)), ...later.map((b, n) => take(members[n]!, b))]
  assert.deepEqual((await Promise.all(both)).map(codeOf), Array(8).fill('posted'))
  assert.equal(await spent(), 5, 'three reports, one batch of signs of life')
  assert.deepEqual(
    (await readReports(grid, group, 'web')).map(({ reason }) => reason),
    Array(3).fill('since boot'),
  )
  for (const word of [...reports, ...later]) assert.ok(await isHeld(grid, word))

  // whatever the chain has had, said again by whom it was said
  const again = [...reports, ...beats, ...later].map((word) => {
    const { node } = 'ack' in word ? word.ack : word.beat
    return take(members[node - 1]!, word)
  })
  assert.deepEqual((await Promise.all(again)).map(codeOf), Array(13).fill('old-word'))
  const newer = reportOf(0, { phase: 'failed' }) as Extract<Word, { ack: unknown }>
  assert.equal(await isHeld(grid, newer), false)
  assert.equal(codeOf(await take(members[0]!, newer)), 'posted')
  assert.equal(await spent(), 6)
  // posted again past the relayer, by anyone, it is not the last word
  await sendReport(grid, w.relayer, reports[0] as typeof newer)
  const last = (await readWords(grid, group, 'web')).findLast(({ node }) => node === members[0]!.id)
  assert.equal(last?.phase, PHASE.failed)
  // what the contract would refuse
  assert.equal(codeOf(await take(members[1]!, reportOf(1, { sequence: 7 }))), 'contract-Sequence')
  const others = signReport(grid, members[4]!.key, {
    group,
    name: 'web',
    slot: 0,
    node: members[4]!.id,
    sequence: 1,
    phase: 'running',
  })
  assert.equal(codeOf(await take(members[4]!, others)), 'contract-NotTheOwner')
  assert.equal(await spent(), 6, 'a refusal costs nothing')
  assert.equal(carrier.counters.transactions, 6)
})

test('junk, foreign keys and floods: nothing is spent, others are not kept waiting', { timeout: 180_000 }, async () => {
  const { w, grid, members, carrier, take, spent, reportOf } = await world()
  await using _ = w
  const [a, b] = members as [Member, Member]
  const now = Math.floor(Date.now() / 1000)
  const good = beatOf(grid, a, now)
  const code = async (bytes: Uint8Array) => codeOf(await carrier.take(a.overlay, bytes))
  const text = formatWord(good).toString()
  for (const bytes of [
    Buffer.alloc(0),
    randomBytes(500),
    Buffer.from(text.slice(0, -20)),
    Buffer.from(text.replace('{', '{"more":1,')),
    Buffer.from(text.padEnd(MAX_WORD + 1)),
    Buffer.from('{"ack":{},"beat":{}}'),
    Buffer.from('null'),
  ])
    assert.equal(await code(bytes), 'bad-word', bytes.toString('latin1', 0, 40))
  const elsewhere = openGrid(grid.engine, `0x${'77'.repeat(20)}`)
  const report = reportOf(0) as Extract<Word, { ack: unknown }>
  const forged: Word[] = [
    beatOf(elsewhere, a, now),
    beatOf(grid, { ...a, key: b.key }, now),
    beatOf(grid, a, now + 3600),
    { ...good, beat: { node: a.id, time: now + 1 } } as Word,
    { ...report, ack: { ...report.ack, phase: 3 } },
    { ...report, signature: `${report.signature.slice(0, -2)}1d` as `0x${string}` },
  ]
  for (const word of forged) assert.equal(codeOf(await take(a, word)), 'bad-word', JSON.stringify(word))
  assert.equal(codeOf(await take(b, good)), 'bad-word', 'a word is taken from its own node')
  assert.equal(await take({ overlay: overlayOf(99) }, good), undefined, 'a stranger gets no answer')
  assert.equal(await spent(), 0)

  const flood = Array.from({ length: 300 }, (_, n) => take(a, beatOf(grid, a, now - n)))
  const others = members.slice(1).map((m) => take(m, beatOf(grid, m, now)))
  const mine = reportOf(1)
  assert.equal(codeOf(await take(b, mine)), 'posted')
  assert.deepEqual((await Promise.all(others)).map(codeOf), Array(4).fill('posted'))
  const said = (await Promise.all(flood)).map(codeOf)
  assert.equal(said.filter((c) => c === 'posted').length, 1)
  assert.ok(said.filter((c) => c === 'too-many-words').length > 200)
  assert.ok((await spent()) <= 4, `${await spent()} transactions`)
})

test('reports of several nodes do not wait for each other: they can be in one block', {
  timeout: 180_000,
  skip: process.env.ZOS_TEST_RPC ? 'holds transactions back on the embedded chain' : false,
}, async () => {
  const { w, grid, members, reportOf } = await world()
  await using _ = w
  const held: (() => void)[] = []
  /** Lets none through until there are three. */
  const engine: typeof grid.engine = {
    ...grid.engine,
    async request(call) {
      if (call.method !== 'eth_sendRawTransaction') return grid.engine.request(call)
      await new Promise<void>((resolve) => {
        held.push(resolve)
        if (held.length === 3) for (const go of held.splice(0)) go()
      })
      return grid.engine.request(call)
    },
  }
  const slow = openGrid(engine, grid.contract, { since: grid.since })
  const carrier = carryWords(slow, openRelayer(undefined, { many: true }))
  const all = [0, 1, 2].map((n) => carrier.take(members[n]!.overlay, formatWord(reportOf(n))))
  assert.deepEqual((await Promise.all(all)).map(codeOf), Array(3).fill('posted'))
  assert.equal(carrier.counters.transactions, 3)
})
