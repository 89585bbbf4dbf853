import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import test, { type TestContext } from 'node:test'
import { codeOf } from '#codec'
import { until } from '#sys'
import { identityOf } from '../identity.ts'
import { type Admission, createAdmission, type Rank, SHARES, type Share } from './admission.ts'
import { decodePiece } from './decode.ts'
import { openStreams, type Service, type Streams } from './streams.ts'

const keys = (count: number): string[] => Array.from({ length: count }, () => randomBytes(32).toString('hex'))
const refused = (admission: Admission, key: string): string => {
  try {
    admission.enter(key)
    return ''
  } catch (error) {
    return codeOf(error)
  }
}

test('whoever makes himself many keys fills the room of strangers alone', () => {
  const [node, member] = keys(2) as [string, string]
  let now = 0
  const rankOf = (key: string): Rank => (key === node ? 'node' : key === member ? 'member' : 'stranger')
  const admission = createAdmission(rankOf, SHARES, () => now)
  const codes = new Map<string, number>()
  for (const key of keys(1000)) {
    now += 100
    const code = refused(admission, key)
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  assert.deepEqual(
    codes,
    new Map([
      ['', SHARES.stranger.together],
      ['streams-together', 1000 - SHARES.stranger.together],
    ]),
  )
  for (const [key, rank] of [
    [node, 'node'],
    [member, 'member'],
  ] as const) {
    for (let n = 0; n < SHARES[rank].each; n++) assert.equal(refused(admission, key), '', `${rank} ${n}`)
    assert.equal(refused(admission, key), 'streams-of-one')
  }
  assert.deepEqual(admission.open(), { node: 64, member: 32, stranger: 64 })
})

test('streams are opened no faster than their share, one by one and together; a place that is left is free', () => {
  let now = 0
  const admission = createAdmission(
    () => 'stranger',
    SHARES,
    () => now,
  )
  const [one] = keys(1) as [string]
  const open = (key: string) => admission.enter(key).leave()
  for (let n = 0; n < 40; n++) open(one)
  assert.equal(refused(admission, one), 'opens-of-one')
  for (const key of keys(60)) open(key)
  assert.equal(refused(admission, keys(1)[0]!), 'opens-together')
  now += 100
  open(one)
  assert.equal(refused(admission, one), 'opens-of-one')
  assert.deepEqual(admission.open(), { node: 0, member: 0, stranger: 0 })
})

const SMALL: Share = { each: 8, together: 8, opensEach: 8, opensTogether: 8, bytes: 50_000, most: 250_000, idle: 400 }

const echo: Service = () => {
  const both = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      both.push(chunk)
      done()
    },
    final(done) {
      both.push(null)
      done()
    },
  })
  return both
}

/** Two nodes side by side, the second of which serves `echo` by ADMISSION. */
function pair(t: TestContext, admission: Admission) {
  const ends: { streams: Streams; address: Buffer }[] = []
  for (const n of [0, 1]) {
    const identity = identityOf(randomBytes(32))
    const from = { address: identity.address, publicKey: identity.publicKey.toString('hex') }
    const send = (_to: Buffer, payloads: Buffer[]) => {
      for (const payload of payloads) setImmediate(() => ends[1 - n]!.streams.receive(from, decodePiece(payload)!))
    }
    const streams = openStreams(identity, n ? { echo } : {}, send, n ? admission : undefined)
    ends.push({ streams, address: identity.address })
    t.after(() => streams.close())
  }
  return { dial: () => ends[0]!.streams.dial(ends[1]!.address, 'echo'), status: () => ends[1]!.streams.status() }
}

const shares = { node: SMALL, member: SMALL, stranger: SMALL }

test('bytes pass no faster than their share', async (t) => {
  const { dial } = pair(
    t,
    createAdmission(() => 'member', { ...shares, member: { ...SMALL, idle: 60_000, most: 1 << 30 } }),
  )
  const bytes = randomBytes(130_000)
  const begun = performance.now()
  const stream = dial()
  stream.end(bytes)
  assert.ok((await buffer(stream)).equals(bytes))
  // there and back 260 kB, of which 200 kB at once and 50 kB a second
  const took = performance.now() - begun
  assert.ok(took > 1000, `${took} ms`)
})

test('what is too long, or says nothing, is ended and counted', async (t) => {
  const LARGE: Share = { ...SMALL, bytes: 1 << 20 }
  let rank: Rank = 'stranger'
  const { dial, status } = pair(
    t,
    createAdmission(() => rank, { ...shares, stranger: LARGE, member: { ...LARGE, idle: 60_000 } }),
  )
  const silent = dial()
  const [idle] = await once(silent.resume(), 'error')
  assert.match(String(idle), /nothing said for 0.4 s/)
  // which no pause of loaded cores ends before
  rank = 'member'
  const long = dial()
  long.on('error', () => {})
  long.resume().write(randomBytes(200_000))
  await until('it to be cut', 10_000, () => long.destroyed)
  await until('all of it to be counted', 10_000, () => status().open.member === 0)
  assert.deepEqual(status().counters, { opened: 2, idle: 1, 'too-much': 1 })
})
