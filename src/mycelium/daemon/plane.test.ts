import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { formatAddress } from '../address.ts'
import { decodeControl } from '../wire/control.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT } from '../wire/frame.ts'
import { LARGEST } from '../wire/large.ts'
import { noOffload, packetBuffer, VNET_HEADER } from './offload.ts'
import { frame, me, node, other, packet, you } from './plane.fixture.ts'
import { HEADROOM } from './plane-context.ts'

test('a packet goes out sealed and comes in as it was, with the hop limit of the way', (t) => {
  const a = node(t, me)
  const b = node(t, you)
  a.learn(you)
  b.learn(me)
  const p = packet(me, you)
  a.plane.sendOwn(p)
  assert.equal(a.sent.length, 1)
  assert.equal(a.sent[0]!.indexOf(p.subarray(40)), -1)
  b.receive(a.sent[0]!)
  const got = b.kernelGot().subarray(VNET_HEADER)
  assert.equal(got[7], 62)
  got[7] = p[7]!
  assert.deepEqual(got, p)
})

test('tampered, spoofed, misdirected and malformed packets reach nobody and are counted', (t) => {
  const b = node(t, you)
  for (const known of [me, other]) b.learn(known)
  const good = packet(me, you)
  for (let at = BODY_AT; at < BODY_AT + good.length + 32; at++) {
    const tampered = frame(me, you, good)
    tampered[at]! ^= 0x40
    b.receive(tampered)
  }
  // the outer source decides the key: under another's name nothing opens
  b.receive(frame(me, you, good, { source: other.address }))
  assert.equal(b.plane.counters['not-authentic'], good.length + 32 + 1)
  // with a valid key, but inner addresses that are not those of the frame
  b.receive(frame(me, you, packet(other, you)))
  b.receive(frame(me, you, packet(me, other)))
  assert.equal(b.plane.counters.spoofed, 2)
  const innerToo = Buffer.from(good)
  innerToo[39]! ^= 1
  const misdirected = frame(me, you, innerToo)
  misdirected[DESTINATION_AT + 15]! ^= 1
  b.receive(misdirected)
  assert.equal(b.plane.counters['not-here'], 1)
  for (const bad of [
    Buffer.alloc(0),
    good.subarray(0, 39),
    good.subarray(0, 50),
    Buffer.concat([good, Buffer.alloc(1)]),
  ])
    b.receive(frame(me, you, bad))
  assert.equal(b.plane.counters['bad-inner-packet'], 4)
  b.receive(frame(me, you, good, { type: 99 }))
  assert.equal(b.plane.counters['unknown-inner-type'], 1)
  b.receive(frame(you, me, good))
  assert.equal(b.plane.counters['own-source'], 1)
  for (const bad of [
    Buffer.alloc(3),
    Buffer.concat([Buffer.from([0, 0, 0, 0]), good]),
    Buffer.concat([Buffer.from([255, 255, 0, 0]), good]),
  ])
    b.receive(frame(me, you, bad, { type: 17 }))
  b.receive(frame(me, you, Buffer.alloc(2), { type: 16 }))
  b.receive(frame(me, you, Buffer.alloc(30), { type: 2 }))
  assert.equal(b.kernelGot().length, 0)
})

test('an error is believed only when it quotes a body of ours', (t) => {
  const a = node(t, me)
  for (const known of [you, other]) a.learn(known)
  const relay = node(t, other)
  relay.learn(me)
  relay.learn(you)
  const p = packet(me, you)
  a.plane.sendOwn(p)
  const late = Buffer.from(a.sent[0]!)
  late[HOP_LIMIT_AT] = 1
  relay.receive(late)
  assert.equal(relay.sent.length, 1)
  a.receive(relay.sent[0]!)
  const icmp = a.kernelGot().subarray(VNET_HEADER)
  assert.deepEqual([icmp[40], icmp[41]], [3, 0])
  assert.deepEqual(icmp.subarray(8, 24), other.address)
  assert.deepEqual(icmp.subarray(48), p)
  const why = a.plane.unreached.get(you.subnet)!.error
  assert.equal(why, `its hop limit was used up at ${formatAddress(other.address)}; look at "zos mycelium trace"`)
  // the same error about a packet that was never ours
  late[BODY_AT + 3]! ^= 1
  relay.receive(late)
  a.receive(relay.sent[1]!)
  assert.equal(a.plane.counters['bad-error'], 1)
})

test('packets wait for a route, in bounds, and are answered when there is none', (t) => {
  const a = node(t, me)
  for (let i = 0; i < 100; i++) a.plane.sendOwn(packet(me, you))
  assert.equal(a.said.filter((m) => m.type === 'route-request').length, 1)
  assert.equal(a.sent.length, 0)
  a.learn(you)
  assert.equal(a.sent.length, 64)
  assert.equal(a.plane.pending.bytes, 0)
  a.plane.sendOwn(packet(me, other))
  for (let now = 0; now <= 7_000; now += 500) a.router.tick(now)
  const icmp = a.kernelGot().subarray(-(40 + 8 + 60))
  assert.deepEqual([icmp[6], icmp[40], icmp[41]], [58, 1, 0])
  assert.match(a.plane.unreached.get(other.subnet)!.error, /^no route: it does not run/)
})

test('a frame from somebody unknown waits until a route tells the key', (t) => {
  const b = node(t, you)
  const p = packet(me, you)
  b.receive(frame(me, you, p))
  assert.equal(b.kernelGot().length, 0)
  assert.ok(b.said.some((m) => m.type === 'route-request' && m.prefix?.bytes === me.subnet))
  b.learn(me)
  assert.equal(b.kernelGot().length, VNET_HEADER + p.length)
})

test('frames of others that wait take no room from packets of ours, nor those of one host all that others have', (t) => {
  const b = node(t, you)
  b.router.linkUp(2, { base: 10, rtt: 0, host: 'another' }, 0)
  const large = Buffer.alloc(60_000)
  const from = (link: number, n: number) => {
    const f = frame(me, you, large)
    f.set([5, 1, link, n, 9, 9, 9, 9], DESTINATION_AT)
    const before = b.plane.pending.bytes
    b.plane.receive(f, 0, f.length, link)
    return b.plane.pending.bytes > before
  }
  let taken = 0
  for (let n = 0; n < 150; n++) if (from(1, n)) taken++
  assert.ok(taken > 50 && taken < 60, `${taken} frames`)
  for (let n = 0; n < 8; n++) assert.ok(from(2, n), `frame ${n} of another`)
  const before = b.plane.pending.bytes
  b.plane.sendOwn(packet(you, other))
  assert.ok(b.plane.pending.bytes > before)
})

test('unknown destinations cause a bounded number of searches', (t) => {
  const b = node(t, you)
  b.learn(me)
  b.said.length = 0
  for (let i = 0; i < 5_000; i++) {
    const f = frame(me, you, Buffer.alloc(0))
    f.set([5, 1, i >> 8, i & 0xff, 9, 9, 9, 9], DESTINATION_AT)
    b.receive(f)
  }
  assert.equal(b.said.filter((m) => m.type === 'route-request').length, 200)
  assert.ok(b.sent.length <= 200, 'errors sent are bounded too')
  assert.ok(b.sent.every((f) => f[1] === 0 || decodeControl(f, 0, f.length)))
})

test('identities of one node reach each other without crypto, and none speaks for another', (t) => {
  const a = node(t, me)
  a.learn(other)
  const got: Buffer[] = []
  const workload = a.plane.add(you)
  workload.port = {
    largest: LARGEST,
    wholeSubnet: true,
    uncut: false,
    write: (p, at, length) => got.push(Buffer.from(p.bytes.subarray(at, at + length))),
    close: () => got.push(Buffer.from('closed')),
  }
  const elsewhere = packet(me, you)
  elsewhere[39]! ^= 1
  a.plane.sendOwn(packet(me, you))
  a.plane.sendOwn(elsewhere)
  assert.equal(a.sent.length, 0)
  assert.deepEqual(
    got.map((p) => [p[7], p.subarray(24, 40).equals(you.address)]),
    [
      [63, true],
      [63, false],
    ],
  )
  const sendAs = (p: Buffer) => {
    const buffer = packetBuffer(64 + p.length)
    p.copy(buffer.bytes, 64)
    a.plane.send(workload, buffer, 64, p.length)
  }
  sendAs(packet(you, me))
  assert.deepEqual(a.kernelGot().subarray(VNET_HEADER + 8, VNET_HEADER + 24), you.address)
  sendAs(packet(me, other))
  assert.equal(a.plane.counters['foreign-source'], 1)
  sendAs(packet(you, other))
  assert.equal(a.sent.length, 1)
  const b = node(t, other)
  b.learn(you)
  b.receive(a.sent[0]!)
  assert.deepEqual(b.kernelGot().subarray(VNET_HEADER + 8, VNET_HEADER + 24), you.address)
  // nothing of a removed identity is sent or delivered
  a.plane.remove(workload)
  assert.equal(String(got.at(-1)), 'closed')
  a.receive(frame(other, you, packet(other, you)))
  assert.ok(a.said.some((m) => m.type === 'route-request' && m.prefix?.bytes === you.subnet))
})

test('a packet larger than its path takes is answered by Packet Too Big, once the path had time to answer', (t) => {
  const a = node(t, me, 'either')
  a.learn(you)
  a.plane.sendOwn(packet(me, you, randomBytes(2_000)))
  assert.equal(a.kernelGot().length, 0)
  a.clock.now = 1_000
  a.plane.sendOwn(packet(me, you, randomBytes(2_000)))
  const icmp = a.kernelGot().subarray(VNET_HEADER)
  assert.deepEqual([icmp[6], icmp[40], icmp.readUInt32BE(44)], [58, 2, 1400])
})

test('a packet that is sent while another is being cut goes its own way, and the rest of that one its own', (t) => {
  const a = node(t, me)
  for (const known of [you, other]) a.learn(known)
  const large = Buffer.alloc(20 + 5_000)
  large[12] = 0x50
  const bytes = packet(me, you, large)
  bytes[6] = 6
  const buffer = packetBuffer(HEADROOM + bytes.length)
  bytes.copy(buffer.bytes, HEADROOM)
  // as a connection does that ends: what waited for its route is sent by another
  a.connection.queued = () => {
    a.connection.queued = () => {}
    a.plane.sendOwn(packet(me, other))
  }
  a.plane.send(a.plane.node, buffer, HEADROOM, bytes.length, { ...noOffload(), gsoSize: 2_000 })
  assert.deepEqual(
    a.sent.map((one) => one.toString('hex', DESTINATION_AT, DESTINATION_AT + 16)),
    [you, other, you, you].map(({ address }) => address.toString('hex')),
  )
})
