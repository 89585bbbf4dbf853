import assert from 'node:assert/strict'
import test from 'node:test'
import { sharedSecret } from '../identity.ts'
import { BODY_AT, HOP_LIMIT_AT } from '../wire/frame.ts'
import { Sealer } from '../wire/seal.ts'
import { VNET_HEADER } from './offload.ts'
import { frame, me, node, other, packet, packetsAt, two, you } from './plane.fixture.ts'

test('in a session nothing can be read with the static keys, and tampered, replayed and downgraded frames are dropped', (t) => {
  const { a, b, pass } = two(t, ['session', 'session'])
  const p = packet(me, you)
  a.plane.sendOwn(p)
  assert.equal(a.sent.length, 1, 'the packet waits for the handshake')
  pass()
  assert.equal(packetsAt(b, p.length), 1)
  a.plane.sendOwn(p)
  const sealed = a.sent[0]!
  const { length } = sealed
  const sealer = new Sealer(sharedSecret(me, you.publicKey)!)
  assert.equal(sealer.open(sealed, BODY_AT, length - BODY_AT, Buffer.alloc(length), 0), -1)
  // the last 12 bytes are index and counter: with another index it is tried as a legacy body
  for (let at = BODY_AT; at < length; at++) {
    const tampered = Buffer.from(sealed)
    tampered[at]! ^= 0x10
    b.receive(tampered)
  }
  assert.equal(b.plane.counters['not-authentic'], length - BODY_AT)
  pass()
  assert.equal(packetsAt(b, p.length), 2)
  b.receive(sealed)
  assert.equal(b.plane.counters.replayed, 1)
  b.receive(frame(me, you, p))
  assert.equal(b.plane.counters.downgraded, 1)
  assert.equal(packetsAt(b, p.length), 2)
})

test('a node known to be ours gets nothing but sessions, however long it is silent', (t) => {
  const { a, b, run } = two(t, ['session', 'legacy'])
  a.plane.sendOwn(packet(me, you))
  b.plane.sendOwn(packet(you, me))
  run(60_000)
  assert.equal(b.kernelGot().length, 0)
  assert.equal(a.plane.counters.downgraded, 1)
  // after ten seconds the sender is told
  assert.equal(a.plane.counters['no-session'], 1)
  assert.match(a.plane.unreached.get(you.subnet)!.error, /answered no handshake/)
  const icmp = a.kernelGot().subarray(VNET_HEADER)
  assert.deepEqual([icmp[6], icmp[40], icmp[41]], [58, 1, 3])
})

test('a node nothing is known of: a session where it answers, the public form where it does not', (t) => {
  const { a, b, run } = two(t, ['either', 'legacy'])
  const p = packet(me, you)
  a.plane.sendOwn(p)
  run(400)
  assert.equal(b.kernelGot().length, 0, 'it waits half a second')
  run(300)
  assert.equal(packetsAt(b, p.length), 1)
  a.plane.sendOwn(p)
  run(100)
  assert.equal(packetsAt(b, p.length), 2, 'and not again')
  assert.deepEqual(a.plane.sealings(), { session: 0, legacy: 1, none: 0 })
})

test('a node that spoke sessions and became another program is spoken to again within a quarter of a minute', (t) => {
  const before = two(t, ['either', 'either'])
  const p = packet(me, you)
  before.a.plane.sendOwn(p)
  before.run(200)
  assert.deepEqual(before.a.plane.sealings(), { session: 1, legacy: 0, none: 0 })
  const { a, clock } = before
  const other = node(t, you, 'legacy')
  other.learn(me)
  let got = 0
  for (const end = clock.now + 15_000; clock.now < end && got === 0; clock.now += 100) {
    if (clock.now % 1_000 === 0) a.plane.sendOwn(p)
    if (clock.now % 1_000 === 0) a.plane.tick()
    a.plane.tickImpatient()
    for (const f of a.sent.splice(0)) other.receive(f)
    got = other.kernelGot().length
  }
  assert.ok(got > 0)
})

test('an error quotes a body of a session and is believed only then', (t) => {
  const { a, run } = two(t, ['either', 'either'])
  const relay = node(t, other, 'either')
  for (const known of [me, you]) relay.learn(known)
  a.learn(other)
  a.plane.sendOwn(packet(me, you))
  run(200)
  const p = packet(me, you)
  const before = a.kernelGot().length
  a.plane.sendOwn(p)
  const late = a.sent.pop()!
  late[HOP_LIMIT_AT] = 1
  relay.receive(late)
  for (let i = 0; i < 5; i++) {
    for (const f of relay.sent.splice(0)) a.receive(f)
    for (const f of a.sent.splice(0)) relay.receive(f)
  }
  const icmp = a.kernelGot().subarray(before + VNET_HEADER)
  assert.deepEqual([icmp[40], icmp[41]], [3, 0])
  assert.deepEqual(icmp.subarray(48), p)
})
