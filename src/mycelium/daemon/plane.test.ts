import assert from 'node:assert/strict'
import { createCipheriv, randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { type Identity, identityOf, sharedSecret } from '../identity.ts'
import { createRouter } from '../router/router.ts'
import type { Demand } from '../session/policy.ts'
import { decodeControl, type Message } from '../wire/control.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { LARGEST } from '../wire/large.ts'
import { Sealer } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import { packetBuffer, VNET_HEADER } from './offload.ts'
import { createOutQueue } from './out-queue.ts'
import { createPlane } from './plane.ts'

/** A node without sockets: what it sends over its one link is kept, what its kernel would get is in a file. */
function node(t: TestContext, identity: Identity, demand: Demand = 'legacy', clock = { now: 0 }) {
  const file = join(tmpdir(), `zos-plane-${process.pid}-${randomBytes(4).toString('hex')}`)
  const tun = openSync(file, 'w')
  t.after(() => {
    closeSync(tun)
    rmSync(file)
  })
  const sent: Buffer[] = []
  const said: Message[] = []
  const queue = createOutQueue((bytes, at, length) => sent.push(Buffer.from(bytes.subarray(at, at + length))))
  const connection = {
    id: 1,
    endpoint: 'test',
    queue,
    stats: { dropped: 0 },
    queued: () => {},
  } as unknown as Connection
  const router = createRouter({
    owns: () => true,
    send: (_link, message) => said.push(message),
    onSelected: (subnet, route) => route && plane.routeFound(subnet),
    onUnreachable: (subnet) => plane.routeMissing(subnet),
  })
  const demandOf = () => demand
  const plane = createPlane({
    identity,
    router,
    connection: () => connection,
    intercept: () => false,
    message: () => false,
    demandOf,
    now: () => clock.now,
  })
  plane.node.port = {
    largest: LARGEST,
    wholeSubnet: false,
    uncut: false,
    write: (p, at, length) => void writeSync(tun, p.bytes, at - VNET_HEADER, length + VNET_HEADER),
    close: () => {},
  }
  router.addOrigin(identity.subnet, `${identity.publicKey.toString('hex')}${'0'.repeat(16)}`, 0)
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  const learn = (other: Identity) =>
    router.receive(
      1,
      {
        type: 'update',
        interval: 30000,
        seqno: 0,
        metric: 0,
        prefix: { bytes: other.subnet, length: 64 },
        routerId: `${other.publicKey.toString('hex')}${'0'.repeat(16)}`,
      },
      0,
    )
  const receive = (frame: Buffer) => plane.receive(Buffer.from(frame), 0, frame.length)
  const kernelGot = (): Buffer => {
    plane.flush()
    return readFileSync(file)
  }
  return { plane, router, clock, sent, said, learn, receive, kernelGot }
}

const [me, you, other] = [
  identityOf(randomBytes(32)),
  identityOf(randomBytes(32)),
  identityOf(randomBytes(32)),
] as const

function packet(from: Identity, to: Identity, body = randomBytes(20)): Buffer {
  const bytes = Buffer.alloc(40 + body.length)
  bytes[0] = 0x60
  bytes.writeUInt16BE(body.length, 4)
  bytes[6] = 17
  bytes[7] = 64
  bytes.set(from.address, 8)
  bytes.set(to.address, 24)
  bytes.set(body, 40)
  return bytes
}

/** A frame sealed with node:crypto, independent of the code under test. */
function frame(from: Identity, to: Identity, inner: Buffer, options: { type?: number; source?: Buffer } = {}): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sharedSecret(from, to.publicKey)!, nonce)
  const sealed = [cipher.update(Buffer.concat([Buffer.from([1, options.type ?? 0, 0, 0]), inner])), cipher.final()]
  const body = Buffer.concat([...sealed, cipher.getAuthTag(), nonce])
  const out = Buffer.alloc(BODY_AT + body.length)
  writeDataHeader(out, 0, body.length, 63)
  out.set(options.source ?? from.address, SOURCE_AT)
  out.set(to.address, DESTINATION_AT)
  out.set(body, BODY_AT)
  return out
}

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

test('unknown destinations cause a bounded number of searches', (t) => {
  const b = node(t, you)
  b.learn(me)
  b.said.length = 0
  for (let i = 0; i < 5_000; i++) {
    const f = frame(me, you, Buffer.alloc(0))
    f.set([5, 1, i >> 8, i & 0xff, 9, 9, 9, 9], DESTINATION_AT)
    b.receive(f)
  }
  assert.equal(b.said.filter((m) => m.type === 'route-request').length, 500)
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

type Node = ReturnType<typeof node>

/** Two nodes that know each other, and what carries their frames. */
function two(t: TestContext, demands: [Demand, Demand]) {
  const clock = { now: 0 }
  const [a, b] = [node(t, me, demands[0], clock), node(t, you, demands[1], clock)]
  a.learn(you)
  b.learn(me)
  const pass = () => {
    for (let left = 20; left > 0 && a.sent.length + b.sent.length > 0; left--) {
      for (const f of a.sent.splice(0)) b.receive(f)
      for (const f of b.sent.splice(0)) a.receive(f)
    }
  }
  const run = (ms: number) => {
    for (const end = clock.now + ms; clock.now < end; clock.now += 100) {
      for (const one of [a, b]) one.plane.tickImpatient()
      pass()
    }
  }
  return { a, b, clock, pass, run }
}

const packetsAt = (n: Node, length: number): number => n.kernelGot().length / (VNET_HEADER + length)

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
