import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { addressOf, subnetOf } from '../address.ts'
import { identityOf, sharedSecret } from '../identity.ts'
import { BODY_AT, HOP_LIMIT_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { LARGE_HEADER } from '../wire/large.ts'
import { SEAL_OVERHEAD, Sealer } from '../wire/seal.ts'
import { packetBuffer, VNET_HEADER } from './offload.ts'
import { frame, me, type Node, node, other, packet, packetsAt, two, you } from './plane.fixture.ts'

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

test('between nodes that say so, one sealed frame carries what the kernel had not cut; to others it goes in segments', (t) => {
  const segment = 1_340
  const body = Buffer.concat([
    Buffer.from('9c4000500000000100000000501000ff00000000', 'hex'),
    randomBytes(48 * segment),
  ])
  const p = packet(me, you, body)
  p[6] = 6
  const offload = { gsoSize: segment, checksumStart: 40, checksumOffset: 16, ecn: false }
  /** The frames that one packet of 64 KB becomes. */
  const framesOf = ({ plane, sent }: Node): Buffer[] => {
    const buffer = packetBuffer(64 + p.length + 64)
    p.copy(buffer.bytes, 64)
    plane.send(plane.node, buffer, 64, p.length, offload)
    return sent.splice(0)
  }
  const ours = two(t, ['session', 'session'])
  ours.a.plane.sendOwn(packet(me, you))
  ours.pass()
  const asked = framesOf(ours.a)
  for (const f of asked) ours.b.receive(f)
  ours.pass()
  const before = ours.b.kernelGot().length
  const frames = framesOf(ours.a)
  assert.equal(frames.length, 1)
  assert.equal(frames[0]!.length, BODY_AT + LARGE_HEADER + p.length + SEAL_OVERHEAD)
  ours.b.receive(frames[0]!)
  const got = ours.b.kernelGot().subarray(before)
  assert.equal(got.length, VNET_HEADER + p.length, 'one write to the kernel')
  assert.equal(got.readUInt16LE(4), segment, 'which its kernel may cut as the sender meant it')
  assert.deepEqual(got.subarray(VNET_HEADER + 60), p.subarray(60))

  const public_ = two(t, ['legacy', 'legacy'])
  assert.equal(framesOf(public_.a).length, 48)
})

test('whoever speaks in the name of ever more keys takes the place of no session', (t) => {
  const { a, b, pass } = two(t, ['session', 'session'])
  const p = packet(me, you)
  a.plane.sendOwn(p)
  pass()
  const rubbish = frame(other, you, randomBytes(100))
  for (let n = 0; n < 1_100; n++) {
    const stranger = identityOf(randomBytes(32))
    // a second later
    if (n % 200 === 0) b.plane.tick()
    b.learn(stranger)
    rubbish.set(stranger.address, SOURCE_AT)
    b.receive(rubbish)
  }
  assert.equal(b.plane.counters['not-authentic'], 1_100)
  assert.equal(b.plane.node.remotes.known.size, 1_024)
  b.sent.length = 0
  a.plane.sendOwn(p)
  pass()
  assert.equal(packetsAt(b, p.length), 2)
  assert.equal(b.plane.node.remotes.known.get(me.subnet)?.sealing, 'session')
})

test('who was silent until the way to it was forgotten is answered as soon as there is one', (t) => {
  const { a, b, clock, pass } = two(t, ['session', 'session'])
  const p = packet(me, you)
  a.plane.sendOwn(p)
  pass()
  // longer than a route lasts that nothing refreshes
  for (clock.now = 1_060_000; clock.now < 1_080_000; clock.now += 1_000) b.router.tick(clock.now)
  assert.equal(b.router.lookup(me.subnet, clock.now), undefined)
  b.said.length = 0
  a.plane.sendOwn(p)
  pass()
  const isAsked = b.said.some((m) => m.type === 'route-request' && m.prefix?.bytes === me.subnet)
  assert.ok(isAsked, 'the way back is asked for')
  b.learn(me, clock.now)
  pass()
  assert.equal(packetsAt(b, p.length), 2)
})

test('frames in the names of thousands of made-up keys cost so much a second, and keep nobody from a session', (t) => {
  const { a, b, pass } = two(t, ['session', 'session'])
  const MANY = 1_000
  for (let n = 0; n < MANY; n++) {
    const publicKey = randomBytes(32)
    const address = addressOf(publicKey)
    a.learn({ ...other, publicKey, address, subnet: subnetOf(address) })
    const sealed = randomBytes(BODY_AT + SEAL_OVERHEAD + 8)
    writeDataHeader(sealed, 0, sealed.length - BODY_AT, 63)
    sealed.set(address, SOURCE_AT)
    sealed.set(me.address, SOURCE_AT + 16)
    a.receive(sealed)
  }
  const { counters } = a.plane
  assert.equal(counters['not-authentic'], 200)
  assert.equal(counters['too-many-strangers'], MANY - 200)
  a.sent.length = 0
  const p = packet(me, you)
  a.plane.sendOwn(p)
  pass()
  assert.equal(packetsAt(b, p.length), 1)
  a.plane.tick()
  b.plane.sendOwn(packet(you, me))
  pass()
  assert.equal(packetsAt(a, p.length), 1)
})
