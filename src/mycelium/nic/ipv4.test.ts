import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import test from 'node:test'
import { checksum } from '../wire/icmp.ts'
import { tcp, twoNodes } from './guest.fixture.ts'
import { mappingOf } from './mapping.ts'
import { IPV4_GATEWAY, ipv4OfSlot } from './network.ts'
import { createOutside, ipv4Number } from './outside.ts'
import { TCP, UDP } from './packet.ts'
import { errorToIpv4, GROWTH, toIpv4, toIpv6 } from './translate.ts'

const ICMP = 1
const [WEB, CACHE, DB] = [ipv4OfSlot(0), ipv4OfSlot(1), ipv4OfSlot(2)] as const

/** An IPv4 packet; the upper checksum (CHECKSUM_AT of PAYLOAD) covers the addresses, except ICMP's. */
function ipv4(from: number, to: number, protocol: number, payload: Buffer, checksumAt: number): Buffer {
  const packet = Buffer.alloc(20 + payload.length)
  packet[0] = 0x45
  packet.writeUInt16BE(packet.length, 2)
  packet[8] = 64
  packet[9] = protocol
  packet.writeUInt32BE(from, 12)
  packet.writeUInt32BE(to, 16)
  packet.writeUInt16BE(~checksum(packet, 0, 20) & 0xffff, 10)
  payload.copy(packet, 20)
  packet.writeUInt16BE(~sumOf(packet) & 0xffff, 20 + checksumAt)
  return packet
}

/** 0xffff for a packet whose upper checksum is right. */
function sumOf(packet: Buffer): number {
  const pseudo = packet[9] === ICMP ? 0 : checksum(packet, 12, 20, packet.length - 20 + packet[9]!)
  return checksum(packet, 20, packet.length, pseudo)
}

function segment(source: number, destination: number, length = 20): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(20), randomBytes(length - 20)])
  bytes.writeUInt16BE(source, 0)
  bytes.writeUInt16BE(destination, 2)
  bytes[12] = 0x50
  return bytes
}

test('IPv4 in, IPv4 out, IPv6 in between: connections, echoes, refusals', async (t) => {
  const { web, cache, db } = await twoNodes(t)
  // it has an IPv6 of its own meanwhile
  web.send(tcp(web.identity, db.identity, 40_000, 80))
  await db.next()

  for (const [to, ip] of [
    [db, DB],
    [cache, CACHE],
  ] as const) {
    web.send(ipv4(WEB, ip, TCP, segment(40_000, 80, 101), 16), '0800')
    const got = await to.next('0800')
    assert.deepEqual([got.readUInt32BE(12), got.readUInt32BE(16)], [WEB, ip])
    assert.deepEqual([checksum(got, 0, 20), sumOf(got)], [0xffff, 0xffff])
    to.send(ipv4(ip, WEB, TCP, segment(80, 40_000), 16), '0800')
    assert.equal((await web.next('0800')).readUInt16BE(22), 40_000)
  }

  const echo = Buffer.from([8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3])
  web.send(ipv4(WEB, DB, ICMP, echo, 2), '0800')
  const asked = await db.next('0800')
  assert.deepEqual([asked[20], sumOf(asked)], [8, 0xffff])
  web.send(ipv4(WEB, IPV4_GATEWAY, ICMP, echo, 2), '0800')
  assert.deepEqual((await web.next('0800')).subarray(20, 22), Buffer.from([0, 0]))

  web.send(ipv4(WEB, DB, TCP, segment(40_001, 81), 16), '0800')
  const refused = await web.next('0800')
  assert.deepEqual([...refused.subarray(20, 22)], [3, 10], 'administratively prohibited')
  assert.deepEqual([refused.readUInt32BE(28 + 16), refused.readUInt16BE(28 + 22), sumOf(refused)], [DB, 81, 0xffff])

  // nobody has this address, and this one is another's
  web.send(ipv4(WEB, ipv4OfSlot(9), TCP, segment(40_000, 80), 16), '0800')
  web.send(ipv4(CACHE, DB, TCP, segment(40_000, 80), 16), '0800')
  await db.nothing()
  await web.nothing()
})

const address = (n: number) => Buffer.concat([Buffer.from([4, n]), randomBytes(14)])
const members = [0, 1].map((n) => ({ names: [], address: address(n), ipv4: ipv4OfSlot(n) }))
const map = mappingOf({ domain: '', members, ports: [] }, members[0]!.address)!
const back = mappingOf({ domain: '', members, ports: [] }, members[1]!.address)!

test('there and back gives the same packet, checksums of every value included', () => {
  for (let n = 0; n < 3_000; n++) {
    const protocol = n % 3 === 0 ? UDP : TCP
    const payload = segment(randomInt(65536), randomInt(65536), 20 + randomInt(60))
    if (protocol === UDP) payload.writeUInt16BE(payload.length, 4)
    payload.writeUInt16BE(0, protocol === UDP ? 6 : 16)
    const packet = ipv4(WEB, CACHE, protocol, payload, protocol === UDP ? 6 : 16)
    const bytes = Buffer.concat([Buffer.alloc(GROWTH), packet])
    const length = toIpv6(bytes, GROWTH, packet.length, map)
    assert.equal(length, packet.length + GROWTH)
    assert.equal(checksum(bytes, 40, length, checksum(bytes, 8, 40, length - 40 + protocol)), 0xffff)
    assert.equal(toIpv4(bytes, 0, length, back), packet.length)
    const there = bytes.subarray(GROWTH, GROWTH + packet.length)
    assert.equal(sumOf(there), 0xffff)
    assert.deepEqual(there.subarray(12, 20), packet.subarray(12, 20))
  }
})

test('a datagram without checksum gets one; fragments, options, lies about lengths and other protocols are dropped', () => {
  const translate = (change: (packet: Buffer) => void, protocol = UDP) => {
    const packet = ipv4(WEB, CACHE, protocol, segment(1, 2), 6)
    change(packet)
    const bytes = Buffer.concat([Buffer.alloc(GROWTH), packet])
    const length = toIpv6(bytes, GROWTH, packet.length, map)
    return length === 0 ? undefined : bytes.subarray(0, length)
  }
  const whole = translate((p) => void p.writeUInt16BE(0, 26))!
  assert.equal(checksum(whole, 40, whole.length, checksum(whole, 8, 40, whole.length - 40 + UDP)), 0xffff)
  assert.equal(
    translate((p) => void p.writeUInt16BE(0x2000, 6)),
    undefined,
  )
  assert.equal(
    translate((p) => void p.writeUInt16BE(7, 6)),
    undefined,
  )
  assert.equal(
    translate((p) => void p.fill(0x46, 0, 1)),
    undefined,
  )
  assert.equal(
    translate((p) => void p.writeUInt16BE(2000, 2)),
    undefined,
  )
  assert.equal(
    translate((p) => void p.writeUInt16BE(22, 2)),
    undefined,
  )
  assert.equal(
    translate(() => {}, 132),
    undefined,
  )
  for (let n = 0; n < 20_000; n++) {
    const noise = randomBytes(GROWTH + randomInt(120))
    toIpv6(noise, GROWTH, noise.length - GROWTH, map)
    const six = randomBytes(48 + randomInt(80))
    map.toIpv6(WEB)!.copy(six, 24)
    if (n % 2) map.toIpv6(CACHE)!.copy(six, 8)
    six[6] = [58, 6, 17, randomInt(256)][n % 4]!
    errorToIpv4(six, map)
    toIpv4(six, 0, six.length, map)
  }
})

test('outside is what is neither special nor near this node, its number signed or not', () => {
  const near = { first: ipv4Number('203.0.113.0'), last: ipv4Number('203.0.113.255') }
  const isOutside = createOutside(() => [near])
  const verdict = (address: string) => {
    const [unsigned, signed] = [ipv4Number(address), ipv4Number(address) | 0].map((one) => isOutside(one, 0))
    assert.equal(unsigned, signed, address)
    return unsigned
  }
  for (const special of ['0.0.0.0', '10.1.2.3', '127.0.0.1', '169.254.169.254', '172.31.255.255', '192.168.0.1'])
    assert.equal(verdict(special), false, special)
  for (const special of ['203.0.113.9', '224.0.0.1', '255.255.255.255']) assert.equal(verdict(special), false, special)
  for (const other of ['9.255.255.255', '11.0.0.0', '172.32.0.0', '203.0.114.0', '223.255.255.255'])
    assert.equal(verdict(other), true, other)
})
