import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { checksum } from '../wire/icmp.ts'
import {
  createCoalescer,
  cutTcp,
  finishChecksum,
  noOffload,
  type Offload,
  packetBuffer,
  readVnet,
  tcpHeaders,
  VNET_HEADER,
  writeGso,
} from './offload.ts'

const AT = 64

/** An IPv6 TCP packet with PAYLOAD bytes and 12 bytes of options at AT of a new buffer, its checksum field wrong. */
function tcpPacket(payload: number, flags = 0x18) {
  const packet = packetBuffer(AT + 72 + payload + 1)
  const { bytes } = packet
  randomBytes(72 + payload).copy(bytes, AT)
  bytes[AT] = 0x60
  bytes.writeUInt16BE(32 + payload, AT + 4)
  bytes[AT + 6] = 6
  bytes[AT + 52] = 0x80
  bytes[AT + 53] = flags
  return packet
}

const copyTo = (bytes: Buffer, at: number, length: number, parts: Buffer[]): void =>
  void parts.push(Buffer.from(bytes.subarray(at, at + length)))

function offloadOf(bytes: Buffer): Offload {
  const offload = noOffload()
  assert.ok(readVnet(bytes, AT, offload))
  return offload
}

const verifies = (bytes: Buffer): boolean =>
  checksum(bytes, 40, bytes.length, checksum(bytes, 8, 40, bytes.length - 40 + 6)) === 0xffff

test('a large packet is cut into valid ones and joined to the same again', () => {
  for (const [payload, size] of [
    [60_000, 1328],
    [1328, 1328],
    [1329, 1328],
    [5000, 999],
    [2656, 1328],
    [3, 1],
  ] as const) {
    const packet = tcpPacket(payload)
    const original = Buffer.from(packet.bytes.subarray(AT, AT + 72 + payload))
    const firstSeq = original.readUInt32BE(44)
    const cut: Buffer[] = []
    cutTcp(packet, AT, 72 + payload, tcpHeaders(packet.bytes, AT, 72 + payload), size, true, copyTo, cut)
    assert.equal(cut.length, Math.ceil(payload / size))
    assert.deepEqual(Buffer.concat(cut.map((p) => p.subarray(72))), original.subarray(72))
    for (const [i, part] of cut.entries()) {
      assert.ok(verifies(part), `checksum of part ${i}`)
      assert.equal(part.readUInt32BE(44), (firstSeq + i * size) >>> 0)
      assert.equal(part[53], i === cut.length - 1 ? 0x18 : 0x10)
    }
    const written: Buffer[] = []
    const coalescer = createCoalescer(AT, (joined, length) => {
      const offload = offloadOf(joined.bytes)
      assert.equal(offload.gsoSize, cut.length > 1 ? size : 0)
      if (offload.checksumStart) finishChecksum(joined, AT, length, offload)
      written.push(Buffer.from(joined.bytes.subarray(AT, AT + length)))
    })
    for (const part of cut) assert.ok(coalescer.take(part, 0, part.length))
    coalescer.flush()
    assert.equal(written.length, 1)
    assert.ok(verifies(written[0]!))
    original.writeUInt16BE(written[0]!.readUInt16BE(56), 56)
    assert.deepEqual(written[0], original)
  }
})

test('what does not follow, or differs in anything but payload and length, is not joined', () => {
  const packet = tcpPacket(4000)
  const cut: Buffer[] = []
  cutTcp(packet, AT, 4072, 72, 1000, true, copyTo, cut)
  const pairs: [Buffer, Buffer][] = [
    [cut[0]!, cut[2]!],
    [cut[1]!, cut[0]!],
    [cut[3]!, cut[3]!],
  ]
  for (const at of [1, 7, 9, 25, 41, 43, 49, 52 + 2, 61]) {
    const other = Buffer.from(cut[1]!)
    other[at]! ^= 1
    pairs.push([cut[0]!, other])
  }
  for (const [first, second] of pairs) {
    let written = 0
    const coalescer = createCoalescer(AT, () => written++)
    coalescer.take(first, 0, first.length)
    coalescer.take(second, 0, second.length)
    coalescer.flush()
    assert.equal(written, 2)
  }
  const coalescer = createCoalescer(AT, () => {})
  for (const flags of [0x02, 0x11, 0x14]) {
    const odd = tcpPacket(10, flags)
    assert.equal(coalescer.take(odd.bytes, AT, 82), false)
  }
})

test('a checksum left to us by the kernel is finished, fields outside the packet are refused', () => {
  const packet = tcpPacket(1001)
  writeGso(packet, AT, 72, 1033, 0)
  const offload = offloadOf(packet.bytes)
  assert.equal(offload.gsoSize, 0)
  assert.ok(finishChecksum(packet, AT, 1073, offload))
  assert.ok(verifies(packet.bytes.subarray(AT, AT + 1073)))
  assert.equal(finishChecksum(packet, AT, 1073, { ...offload, checksumOffset: 2000 }), false)
  assert.equal(finishChecksum(packet, AT, 1073, { ...offload, checksumStart: 0 }), false)
  packet.bytes[AT - VNET_HEADER + 1] = 1
  assert.equal(readVnet(packet.bytes, AT, offload), false)
})
