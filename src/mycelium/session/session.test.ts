import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test, { mock } from 'node:test'
import { type KeyPair, newKeyPair } from '../identity.ts'
import { INNER_HEADER, SEAL_OVERHEAD } from '../wire/seal.ts'
import { decodeHandshake, encodeInitiation, encodeOffer, PROLOGUE } from './handshake.ts'
import { indexOf, type Keypair } from './keypair.ts'
import { initiate } from './noise.ts'
import { createSession, type Session } from './session.ts'

/** Two ends on one clock. What they say waits in `wire` until `pass`; `lose` throws it away. */
function two(limits: Parameters<typeof createSession>[3] = {}) {
  const keys = [newKeyPair(), newKeyPair()] as const
  const wire: { to: 0 | 1; payload: Buffer }[] = []
  const counts: Record<string, number> = {}
  const settled = [0, 0]
  const alive = [0, 0]
  const net = { now: 0, counts, wire, settled, alive, keys, handshakes: 1_000 }
  const end = (me: 0 | 1) => {
    const other = (1 - me) as 0 | 1
    return createSession(
      keys[me],
      keys[other].publicKey,
      {
        say: (payload) => wire.push({ to: other, payload }),
        keepalive: (pair) => {
          alive[me]!++
          deliver(other, seal(pair, Buffer.alloc(0)), false)
        },
        settled: () => settled[me]!++,
        mayHandshake: () => net.handshakes-- > 0,
        count: (name) => {
          counts[name] = (counts[name] ?? 0) + 1
        },
      },
      limits,
    )
  }
  const ends: [Session, Session] = [end(0), end(1)]
  /** Started anew: it knows nothing of before. */
  const restart = (me: 0 | 1) => {
    ends[me][Symbol.dispose]()
    ends[me] = end(me)
  }
  /** True when a body reaches the other end. */
  function deliver(to: 0 | 1, body: Buffer, isData = true): boolean {
    const pair = ends[to].opening(indexOf(body, 0, body.length), net.now)
    if (!pair || pair.open(body, 0, body.length, Buffer.alloc(200), 0) < 0) return false
    ends[to].received(pair, isData, net.now)
    return true
  }
  const send = (from: 0 | 1): boolean => {
    const pair = ends[from].sealing(net.now)
    return pair !== undefined && deliver((1 - from) as 0 | 1, seal(pair, randomBytes(10)))
  }
  const pass = () => {
    for (const { to, payload } of wire.splice(0)) ends[to].message(payload, net.now)
  }
  const run = (ms: number, step = 100) => {
    for (const until = net.now + ms; net.now < until; net.now += step) {
      for (const one of ends) one.tick(net.now, true)
      pass()
    }
  }
  return { ...net, net, ends, restart, deliver, send, pass, run, lose: () => wire.splice(0) }
}

function seal(pair: Keypair, payload: Buffer): Buffer {
  const body = Buffer.alloc(payload.length + SEAL_OVERHEAD)
  pair.seal(0, Buffer.concat([Buffer.alloc(INNER_HEADER), payload]), INNER_HEADER, payload.length, body, 0)
  return body
}

test('one round trip makes a session; the responder uses it once the initiator has', () => {
  const t = two()
  assert.equal(t.ends[0].sealing(0), undefined)
  t.ends[0].begin(0)
  assert.equal(t.wire.length, 1)
  t.pass()
  assert.ok(!t.ends[1].isUp && t.ends[1].isAboutToSettle(0))
  t.pass()
  // the initiator spoke first, by an empty message as it had nothing else
  assert.deepEqual(
    [t.settled, t.alive],
    [
      [1, 1],
      [1, 0],
    ],
  )
  assert.ok(t.send(0) && t.send(1))
  assert.deepEqual(t.counts, {})
})

test('both begin at once, and messages are lost: they agree all the same', () => {
  const t = two()
  t.ends[0].begin(0)
  t.ends[1].begin(0)
  t.pass()
  t.pass()
  assert.ok(t.send(0) && t.send(1))
  const u = two()
  u.ends[0].begin(0)
  u.lose()
  u.run(500)
  assert.equal(u.wire.length, 0)
  u.net.now = 1_100
  u.ends[0].tick(1_100, true)
  u.pass()
  u.lose()
  u.run(5_000)
  assert.ok(u.send(0) && u.send(1))
})

test('keys are renewed after two minutes and refused after three; what was sent under the old ones still arrives', () => {
  const t = two()
  t.ends[0].begin(0)
  t.run(200)
  const old = t.ends[0].sealing(t.net.now)!
  const late = seal(old, randomBytes(10))
  t.net.now = 121_000
  assert.ok(t.send(0), 'sending begins the renewal')
  t.run(200)
  const renewed = t.ends[0].sealing(t.net.now)!
  assert.notEqual(renewed, old)
  assert.ok(t.send(0) && t.send(1))
  assert.ok(t.deliver(1, late), 'a late packet of the old keys')
  assert.ok(!t.deliver(1, late), 'but once')
  // without renewal nothing is sent or taken after three minutes
  const u = two()
  u.ends[0].begin(0)
  u.run(200)
  const body = seal(u.ends[0].sealing(u.net.now)!, randomBytes(10))
  u.net.now = 181_000
  assert.equal(u.ends[0].sealing(u.net.now), undefined)
  assert.ok(!u.deliver(1, body))
})

test('a replayed initiation makes nothing and is counted; so are forged, foreign and too many ones', () => {
  const t = two()
  t.ends[0].begin(0)
  const recorded = t.wire[0]!.payload
  t.run(200)
  t.net.now = 10_000
  t.ends[1].message(recorded, t.net.now)
  assert.equal(t.counts['handshake-replayed'], 1)
  assert.equal(t.wire.length, 0)
  t.ends[1].message(recorded, t.net.now + 10)
  assert.equal(t.counts['handshake-flood'], 1)
  const stranger: KeyPair = newKeyPair()
  const forged = initiate(stranger, t.keys[1].publicKey, PROLOGUE, encodeOffer(1, Date.now() + 60_000))!
  t.ends[1].message(encodeInitiation(forged.message), t.net.now + 1_000)
  assert.equal(t.counts['handshake-not-authentic'], 1)
  const bad = Buffer.from(recorded)
  bad[60]! ^= 1
  t.ends[1].message(bad, t.net.now + 2_000)
  assert.equal(t.counts['handshake-not-authentic'], 2)
  t.ends[0].message(recorded.subarray(0, 2), t.net.now)
  assert.equal(t.counts['bad-handshake'], 1)
  t.net.handshakes = 0
  t.ends[1].message(recorded, t.net.now + 3_000)
  assert.equal(t.counts['handshake-flood'], 2)
  assert.ok(t.send(0) && t.send(1), 'the session is as it was')
})

test('a node started anew with its clock set back is begun with instead, and all is quiet once there are keys', (t) => {
  const net = two()
  net.ends[0].begin(0)
  net.run(200)
  const before = Date.now()
  t.after(() => mock.restoreAll())
  mock.method(Date, 'now', () => before - 3_600_000 + net.net.now)
  net.restart(0)
  net.ends[0].begin(net.net.now)
  net.run(500)
  assert.equal(net.counts['handshake-replayed'], 1)
  assert.ok(net.send(0) && net.send(1))
  const [settled] = net.settled
  net.run(60_000)
  assert.deepEqual([net.counts, net.settled[0]], [{ 'handshake-replayed': 1 }, settled])
})

test('initiations recorded long ago, said again and again, make a node say few, as long ones and only meanwhile', () => {
  const t = two()
  t.ends[0].begin(0)
  const recorded = t.wire[0]!.payload
  t.run(200)
  t.net.now = 121_000
  assert.ok(t.send(0))
  t.run(200)
  for (let i = 0; i < 600; i++) {
    t.ends[1].message(recorded, t.net.now)
    t.ends[1].tick(t.net.now, true)
    t.net.now += 100
  }
  assert.ok(t.wire.length >= 2 && t.wire.length <= 12, `${t.wire.length} in a minute`)
  for (const { to, payload } of t.lose()) assert.ok(to === 0 && payload.length <= recorded.length)
  for (const end = t.net.now + 60_000; t.net.now < end; t.net.now += 100) t.ends[1].tick(t.net.now, true)
  assert.equal(t.wire.length, 0)
})

test('an initiation for every byte length is read or refused', () => {
  const t = two()
  t.ends[0].begin(0)
  const { payload } = t.wire[0]!
  for (let length = 0; length < payload.length; length++) {
    const cut = payload.subarray(0, length)
    assert.notEqual(decodeHandshake(cut)?.kind, 'response')
    t.ends[1].message(cut, length * 1_000)
  }
  assert.equal(t.wire.length, 1)
})

test('who lost its keys is found out within seconds, and who only listens says that it lives', () => {
  const t = two()
  t.ends[0].begin(0)
  t.run(200)
  for (let i = 0; i < 30; i++) {
    assert.ok(t.send(0))
    t.run(1_000)
  }
  // one-way traffic for 30 s: no new handshake, some empty answers
  assert.ok(t.alive[1]! >= 5 && t.alive[1]! <= 10, `${t.alive[1]} keepalives`)
  assert.deepEqual(t.settled, [1, 1])
  t.run(30_000)
  assert.ok(t.alive[0]! <= 2, 'keepalives do not answer each other')
  t.ends[1][Symbol.dispose]()
  assert.ok(!t.send(0))
  t.run(6_000)
  assert.ok(t.send(0) && t.send(1), 'a new session')
})

test('keys that have sealed so many messages or bytes are renewed by either end, and are not used beyond the second bar', () => {
  const many = { messages: 1e9, bytes: 1e9 }
  for (const from of [0, 1] as const)
    for (const rekey of [
      { messages: 20, bytes: 1e9 },
      { messages: 1e9, bytes: 20 * (10 + INNER_HEADER) },
    ]) {
      const t = two({ rekey, reject: many })
      t.ends[0].begin(0)
      t.pass()
      t.pass()
      t.net.now = 1000
      const settled = t.settled[from]!
      // the initiator said already that it lives, in one message
      for (let i = 0; i < 19; i++) assert.ok(t.send(from) && t.wire.length === 0, `message ${i}`)
      for (let i = 0; i < 2; i++) assert.ok(t.send(from))
      assert.equal(t.wire.length, 1, 'an initiation of who has sealed so much')
      t.pass()
      t.pass()
      assert.ok(t.send(from))
      assert.equal(t.settled[from], settled + 1)
      assert.equal(t.wire.length, 0)
    }
  const t = two({ rekey: many, reject: { messages: 20, bytes: 1e9 } })
  t.ends[0].begin(0)
  t.pass()
  t.pass()
  for (let i = 0; i < 20; i++) assert.ok(t.send(1), `message ${i}`)
  assert.equal(t.ends[1].sealing(0), undefined)
  assert.ok(t.ends[0].sealing(0), 'what the other has sealed is its own matter')
})
