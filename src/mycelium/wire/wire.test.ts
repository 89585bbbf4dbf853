import assert from 'node:assert/strict'
import { createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { addressOf, formatAddress, formatSubnet, parseOverlayAddress } from '../address.ts'
import { parseEndpoint } from '../endpoint.ts'
import { FUZZ_RUNS } from '../fuzz.fixture.ts'
import { identityOf, sharedSecret } from '../identity.ts'
import { decodeControl, encodeControl, type Message } from './control.ts'
import { BODY_AT, CONTROL, DESTINATION_AT, FrameError, frameLength, SOURCE_AT } from './frame.ts'
import { checksum, icmpError, readOob, timeExceeded, wrapOob } from './icmp.ts'
import { recordedStreams } from './recorded.ts'
import { OOB_ICMP, PACKET, SEAL_OVERHEAD, Sealer } from './seal.ts'

const keys = JSON.parse(readFileSync(new URL('../vectors/keys.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>
const nodes = Object.values(keys).map((key) => identityOf(Buffer.from(key, 'hex')))
const [a, b, c] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]]

function* frames(): Generator<Buffer> {
  for (const file of ['tcp-peering-A-B.pcap', 'tcp-peering-C-B.pcap'])
    for (const stream of recordedStreams(readFileSync(new URL(`../vectors/${file}`, import.meta.url))).values())
      for (let at = 0; at < stream.length; ) {
        const length = frameLength(stream, at, stream.length)
        assert.notEqual(length, 0, 'the recording ends within a frame')
        yield stream.subarray(at, at + length)
        at += length
      }
}

test('keys give the addresses the public daemon derived', () => {
  assert.deepEqual(
    nodes.map((n) => formatAddress(n.address)),
    [
      '539:b411:e3f1:39cc:ae79:cfa2:3eed:1e07',
      '568:e59e:229f:8533:b88:c86e:f0b7:6274',
      '41e:9600:cc6a:6479:cae4:7919:5276:f550',
    ],
  )
  assert.equal(a.publicKey.toString('hex'), 'e8d2f02530b1e92457a9b1b83cf530d37719f28aa07416d2c46bac21fb5a7872')
  assert.equal(formatSubnet(a.subnet), '539:b411:e3f1:39cc::/64')
  assert.deepEqual(sharedSecret(a, b.publicKey), sharedSecret(b, a.publicKey))
  assert.equal(sharedSecret(a, Buffer.alloc(32)), undefined)
})

test('recorded control frames are decoded and encoded to the same bytes', () => {
  const seen = new Map<string, number>()
  for (const frame of frames()) {
    if (frame[1] !== CONTROL) continue
    const [message, ...rest] = decodeControl(frame, 0, frame.length)
    assert.equal(rest.length, 0)
    assert.deepEqual(encodeControl(message!), frame)
    seen.set(message!.type, (seen.get(message!.type) ?? 0) + 1)
  }
  assert.deepEqual(Object.fromEntries(seen), { update: 8, 'route-request': 3, 'seqno-request': 1, hello: 8, ihu: 8 })
})

test('recorded data frames open with the keys of their ends, and what we seal opens the same way', () => {
  const types = [0, 0, 0]
  const out = Buffer.alloc(70_000)
  for (const frame of frames()) {
    if (frame[1] === CONTROL) continue
    const source = frame.subarray(SOURCE_AT, SOURCE_AT + 16)
    const destination = frame.subarray(DESTINATION_AT, DESTINATION_AT + 16)
    const to = nodes.find((n) => n.address.equals(destination))!
    // a relay reports from the first address of its subnet
    const from = nodes.find((n) => n.address.subarray(0, 8).equals(source.subarray(0, 8)))!
    using sealer = new Sealer(sharedSecret(to, from.publicKey)!)
    const length = sealer.open(frame, BODY_AT, frame.length - BODY_AT, out, 0)
    assert.ok(length >= 0)
    types[out[1]!]!++
    if (out[1] === PACKET) assert.equal(out[4]! >> 4, 6)
    if (out[1] === OOB_ICMP) {
      const oob = readOob(out.subarray(4, 4 + length))!
      assert.deepEqual(oob.error, { ...timeExceeded, value: 0 })
      assert.ok(oob.destination.equals(c.address))
      const ours = wrapOob(oob.destination, icmpError(oob.reporter, a.address, oob.error, oob.body))
      assert.deepEqual(ours, out.subarray(4, 4 + length))
      using ownSealer = new Sealer(sharedSecret(a, c.publicKey)!)
      assert.ok(ownSealer.open(oob.body, 0, oob.body.length, out, 1000) > 0)
    }
    const flipped = Buffer.from(frame)
    flipped[BODY_AT + (flipped.length % 20)]! ^= 1
    assert.equal(sealer.open(flipped, BODY_AT, flipped.length - BODY_AT, out, 0), -1)
  }
  assert.deepEqual(types, [25, 136, 1])
})

test('what is sealed here is plain AES-256-GCM to node:crypto', () => {
  const secret = randomBytes(32)
  using sealer = new Sealer(secret)
  for (const length of [0, 1, 40, 1400, 65_000]) {
    const input = randomBytes(length + 4)
    const plain = Buffer.from(input.subarray(4))
    const body = Buffer.alloc(length + SEAL_OVERHEAD)
    sealer.seal(PACKET, input, 4, length, body, 0)
    const decipher = createDecipheriv('aes-256-gcm', secret, body.subarray(-12))
    decipher.setAuthTag(body.subarray(-28, -12))
    const opened = Buffer.concat([decipher.update(body.subarray(0, -28)), decipher.final()])
    assert.deepEqual(opened, Buffer.concat([Buffer.from([1, 0, 0, 0]), plain]))
  }
})

const samples: Message[] = [
  { type: 'hello', unicast: true, seqno: 16, interval: 4000 },
  { type: 'ihu', rxcost: 1015, interval: 6000 },
  {
    type: 'update',
    interval: 30000,
    seqno: 65535,
    metric: 65535,
    prefix: { bytes: '0539b411e3f139cc', length: 64 },
    routerId: 'ab'.repeat(40),
  },
  { type: 'route-request', generation: 3, prefix: { bytes: '0539b411e3f139cc', length: 64 } },
  { type: 'route-request', generation: 0 },
  {
    type: 'seqno-request',
    seqno: 9,
    hops: 64,
    routerId: 'cd'.repeat(40),
    prefix: { bytes: '0539b411e3f139cc', length: 64 },
  },
]

test('a truncated frame is incomplete at every byte, a truncated TLV is refused', () => {
  assert.equal(encodeControl(samples[0]!).toString('hex'), '010100002a0300080406800000100fa0')
  for (const sample of samples) {
    const frame = encodeControl(sample)
    for (let end = 0; end < frame.length; end++) assert.equal(frameLength(frame, 0, end), 0)
    assert.deepEqual(decodeControl(frame, 0, frame.length), [sample])
    for (let length = 1; length < frame[9]!; length++) {
      const short = Buffer.from(frame.subarray(0, 10 + length))
      short.writeUInt16BE(2 + length, 6)
      short[9] = length
      assert.throws(() => decodeControl(short, 0, short.length), FrameError)
      const lying = Buffer.from(short)
      lying[9] = 255
      assert.throws(() => decodeControl(lying, 0, lying.length), /beyond its frame/)
    }
  }
})

test('mutated frames are refused or decoded, never anything else', () => {
  const all = [...frames()]
  let refused = 0
  let random = 12345
  const next = (n: number) => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0
    return (random >>> 8) % n
  }
  for (let i = 0; i < FUZZ_RUNS; i++) {
    const frame = Buffer.from(all[next(all.length)]!)
    for (let k = next(3); k >= 0; k--) frame[next(Math.min(frame.length, 70))] = next(256)
    try {
      const length = frameLength(frame, 0, frame.length)
      assert.ok(length >= 0 && length <= frame.length)
      if (length > 0 && frame[1] === CONTROL) decodeControl(frame, 0, length)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      refused++
    }
  }
  assert.ok(refused > 1000)
})

test('ICMP checksums add up and errors quote at most the minimum MTU', () => {
  const packet = icmpError(a.address, b.address, timeExceeded, randomBytes(3000))
  assert.equal(packet.length, 1280)
  assert.equal(checksum(packet, 40, packet.length, checksum(packet, 8, 40, packet.length - 40 + 58)), 0xffff)
})

test('addresses and peers a person typed are refused with one line', () => {
  assert.equal(formatAddress(parseOverlayAddress('5ff:0:0:1::')), '5ff:0:0:1::')
  assert.equal(formatAddress(addressOf(Buffer.alloc(32)))[0], addressOf(Buffer.alloc(32))[0]!.toString(16))
  for (const bad of ['not-an-address', '::1', 'fe80::1%eth0', ''])
    assert.throws(() => parseOverlayAddress(bad), /Read address/)
  assert.deepEqual(parseEndpoint('tcp://[::]:9651'), { scheme: 'tcp', ip: '::', port: 9651 })
  for (const bad of [
    'tcp://nowhere:1:2',
    'quic://1.2.3.4:9651',
    '1.2.3.4:1',
    'tcp://1.2.3.4:0',
    'tcp://1.2.3.4:65536',
    'tcp://::1:9',
    'tcp://[1.2.3.4]:9',
  ])
    assert.throws(() => parseEndpoint(bad), /Read peer/)
  for (const local of ['fe80::1', 'febf::1'])
    assert.throws(() => parseEndpoint(`tcp://[${local}]:9651`), /a link-local address does not say on which link/)
  assert.equal(parseEndpoint('tcp://[fec0::1]:9651').ip, 'fec0::1')
})
