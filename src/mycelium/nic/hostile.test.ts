import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import test from 'node:test'
import { changed, FUZZ_RUNS } from '../fuzz.fixture.ts'
import { checksum } from '../wire/icmp.ts'
import { createNames, readQuestion } from './dns.ts'
import { createFirewall } from './firewall.ts'
import { createFlowTable, THERE } from './flow-table.ts'
import { createGateway } from './gateway.ts'
import { FRAGMENT, ICMPV6, ipv6Packet, readUpper, TCP, UDP, type Upper } from './packet.ts'

const address = (n: number) => Buffer.concat([Buffer.from([4, n]), Buffer.alloc(13), Buffer.from([1])])
const members = Array.from({ length: 40 }, (_, n) => ({ names: ['many', `w-${n}`], address: address(n) }))
const network = { domain: 'shop.zos', members, ports: [{ protocol: 'tcp' as const, port: 80 }] }
const query = Buffer.from('1234010000010000000000000377 2d31 0473686f70 037a6f7300 001c0001'.replaceAll(' ', ''), 'hex')

test('names: cut off anywhere, changed anywhere, or noise: an answer of at most 512 bytes or none', () => {
  const { answer } = createNames(network)
  assert.equal(readQuestion(query)?.name, 'w-1.shop.zos')
  for (let n = 0; n < query.length; n++) assert.equal(readQuestion(query.subarray(0, n)), undefined)
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const reply = answer(n % 2 ? changed(query) : randomBytes(randomInt(600)))
    if (!reply) continue
    assert.ok(reply.length <= 512 && reply[2]! & 0x80)
    assert.deepEqual(answer(reply), undefined, 'two servers would talk for ever')
  }
})

test('names: replicas take turns, and the answer has what fits', () => {
  const { answer } = createNames(network)
  const many = Buffer.from(
    '12340100000100000000000004 6d616e79 0473686f70 037a6f7300 001c0001'.replaceAll(' ', ''),
    'hex',
  )
  const [one, two] = [answer(many)!, answer(many)!]
  assert.ok(one.readUInt16BE(6) >= 8 && one.length <= 512)
  assert.notDeepEqual(one.subarray(-16), two.subarray(-16))
})

test('names: they are not told by TCP, and who tries is refused at once', () => {
  const { answer } = createGateway(network)
  const segment = Buffer.from('9c400035fffffffe0000000050020000000000000000', 'hex').subarray(0, 20)
  const ask = (flags: number, length = 60) => {
    segment[13] = flags
    const packet = ipv6Packet(address(2), address(9), TCP, segment, 16)
    return answer(packet, 0, length)
  }
  const reset = ask(0x02)!
  assert.deepEqual([reset.subarray(8, 24), reset.subarray(24, 40)], [address(9), address(2)])
  assert.equal(reset.toString('hex', 40, 56), `00359c4000000000ffffffff50140000`)
  assert.equal(checksum(reset, 40, 60, checksum(reset, 8, 40, 20 + TCP)), 0xffff)
  for (const flags of [0x12, 0x10, 0x04]) assert.equal(ask(flags), undefined)
  assert.equal(ask(0x02, 58), undefined)
})

test('packets: whatever they claim, nothing is read beyond them and nothing passes', () => {
  const firewall = createFirewall(network, -1_000_000)
  const upper: Upper = { protocol: 0, at: 0, sourcePort: 0, destinationPort: 0 }
  for (let n = 0; n < FUZZ_RUNS; n++) {
    const packet = randomBytes(40 + randomInt(80))
    packet[0] = 0x60
    packet[6] = [0, 43, 44, 60, TCP, UDP, ICMPV6, randomInt(256)][n % 8]!
    if (readUpper(packet, 0, packet.length, upper)) assert.ok(upper.at <= packet.length)
    assert.notEqual(firewall.in(packet, 0, packet.length, 0), '')
  }
})

test('what members may not either: undeclared ports, protocols without ports, errors nobody asked for', () => {
  const firewall = createFirewall(network, -1_000_000)
  const verdict = (protocol: number, payload: string) => {
    const packet = ipv6Packet(address(1), address(2), protocol, Buffer.from(payload, 'hex'), 6)
    return firewall.in(packet, 0, packet.length, 0)
  }
  assert.equal(verdict(TCP, '9c40005000000000'), '')
  assert.equal(verdict(TCP, '9c40005100000000'), 'not-declared')
  assert.equal(verdict(UDP, '9c40005000000000'), 'not-declared')
  assert.equal(verdict(132, '9c40005000000000'), 'not-declared')
  assert.equal(verdict(ICMPV6, `0100000000000000${'60'.padEnd(96, '0')}`), 'unasked')
  assert.equal(verdict(FRAGMENT, '3a00000100000001'), 'nic-malformed', 'a first fragment without its ports')
})

test('connections that were open before the card was attached go on; new ones do not get in that way', () => {
  const ask = (flags: number, now: number, firewall = createFirewall(network, 100_000), length = 20) => {
    const segment = Buffer.alloc(20)
    segment.writeUInt32BE(0x9c409c41)
    segment[13] = flags
    const packet = ipv6Packet(address(1), address(2), TCP, segment, 16)
    return firewall.in(packet, 0, 40 + length, now)
  }
  assert.equal(ask(0x18, 110_000), '')
  for (const flags of [0x02, 0x12, 0x14, 0x04, 0x00]) assert.equal(ask(flags, 110_000), 'not-declared')
  assert.equal(ask(0x18, 230_000), 'not-declared')
  // who pretends that one was open does not open it then, be it in pieces
  const firewall = createFirewall(network, 100_000)
  assert.equal(ask(0x10, 110_000, firewall), '')
  assert.equal(ask(0x18, 300_000, firewall), '')
  for (const flags of [0x02, 0x03, 0xc2]) assert.equal(ask(flags, 110_000, firewall), 'not-declared')
  assert.equal(ask(0x18, 110_000, firewall, 8), 'not-declared')
})

test('flows: known both ways, forgotten when silent, and a flood costs no more than its room', () => {
  const flows = createFlowTable()
  flows.remember(address(1), 0, TCP, 40_000, 80, 0, THERE)
  assert.ok(flows.knows(address(1), 0, TCP, 40_000, 80, 7_000_000))
  assert.ok(!flows.knows(address(1), 0, TCP, 80, 40_000, 7_000_000))
  assert.ok(!flows.knows(address(2), 0, TCP, 40_000, 80, 7_000_000))
  assert.ok(!flows.knows(address(1), 0, TCP, 40_000, 80, 20_000_000))
  for (let n = 0; n < 100_000; n++) flows.remember(address(n & 255), 0, UDP, n & 0xffff, 1, n, THERE)
  let left = 0
  for (let n = 0; n < 100_000; n++) if (flows.knows(address(n & 255), 0, UDP, n & 0xffff, 1, 100_000)) left++
  assert.ok(left > 2000 && left <= 4096, `${left}`)
})

test('people reach declared ports and are answered; no workload opens anything to them; whoever is removed is cut off', () => {
  const person = Buffer.concat([Buffer.from([5, 1]), Buffer.alloc(13), Buffer.from([1])])
  const firewall = createFirewall({ ...network, people: [person] }, -1_000_000)
  const segment = (from: Buffer, to: Buffer, source: number, destination: number) => {
    const payload = Buffer.alloc(20)
    payload.writeUInt16BE(source, 0)
    payload.writeUInt16BE(destination, 2)
    return ipv6Packet(from, to, TCP, payload, 16)
  }
  const ask = (port: number, from = person) => {
    const packet = segment(from, address(2), 40_000, port)
    return firewall.in(packet, 0, packet.length, 1)
  }
  const tell = (source: number, port: number) => {
    const packet = segment(address(2), person, source, port)
    return firewall.out(packet, 0, packet.length, 1)
  }
  assert.equal(tell(80, 40_000), 'not-a-member', 'nothing was asked yet')
  assert.equal(ask(81), 'not-declared')
  assert.equal(ask(80), '')
  assert.equal(tell(80, 40_000), '')
  assert.equal(tell(40_001, 22), 'not-a-member')
  const back = segment(address(2), person, 80, 40_000)
  back[40 + 13] = 0x02
  assert.equal(firewall.out(back, 0, back.length, 1), 'not-a-member', 'nor from the port it answers from')
  assert.equal(ask(80, address(1)), '')
  firewall.reform({ ...network, people: [] })
  assert.equal(ask(80), 'not-a-member')
  assert.equal(tell(80, 40_000), 'not-a-member', 'not even what was open')
  const answer = segment(address(2), address(1), 80, 40_000)
  assert.equal(firewall.out(answer, 0, answer.length, 1), '', 'what members have open goes on')
})

test('rules: each port has its own askers; what may be reached elsewhere may not ask', () => {
  const ports = [80, 5432].map((port) => ({ protocol: 'tcp' as const, port }))
  const elsewhere = Buffer.concat([Buffer.from([5, 7]), Buffer.alloc(13), Buffer.from([1])])
  const guest = Buffer.concat([Buffer.from([5, 8]), Buffer.alloc(13), Buffer.from([1])])
  const firewall = createFirewall(
    {
      ...network,
      people: [guest],
      others: [{ names: ['db.store.zos'], address: elsewhere }],
      ports,
      allow: [
        { from: [address(1)], people: false, ports: ports.slice(1) },
        { from: [], people: true, ports: ports.slice(0, 1) },
      ],
    },
    -1_000_000,
  )
  const segment = Buffer.alloc(20)
  const ask = (from: Buffer, port: number) => {
    segment.writeUInt16BE(40_000, 0)
    segment.writeUInt16BE(port, 2)
    const packet = ipv6Packet(from, address(2), TCP, segment, 16)
    return firewall.in(packet, 0, packet.length, 1)
  }
  assert.equal(ask(address(1), 5432), '')
  assert.equal(ask(address(1), 80), 'not-declared')
  assert.equal(ask(address(3), 5432), 'not-declared')
  assert.equal(ask(guest, 80), '')
  assert.equal(ask(guest, 5432), 'not-declared')
  assert.equal(ask(elsewhere, 80), 'not-a-member')
  segment.writeUInt16BE(41_000, 0)
  segment.writeUInt16BE(5432, 2)
  const packet = ipv6Packet(address(2), elsewhere, TCP, segment, 16)
  assert.equal(firewall.out(packet, 0, packet.length, 1), '')
  segment.writeUInt16BE(5432, 0)
  segment.writeUInt16BE(41_000, 2)
  const answer = ipv6Packet(elsewhere, address(2), TCP, segment, 16)
  assert.equal(firewall.in(answer, 0, answer.length, 1), '')
})

test('what a rule let in is cut when the rule is gone, whoever stays a member; what was opened from here goes on', () => {
  const ports = [
    { protocol: 'udp' as const, port: 53 },
    { protocol: 'tcp' as const, port: 80 },
  ]
  const by = (from: number[], of = ports) => ({
    ...network,
    ports,
    allow: [{ from: from.map(address), people: false, ports: of }],
  })
  const firewall = createFirewall(by([1, 3]), -1_000_000)
  const pass = (way: 'in' | 'out', other: number, protocol: number, own: number, port: number) => {
    const payload = Buffer.alloc(20)
    payload.writeUInt16BE(way === 'in' ? port : own, 0)
    payload.writeUInt16BE(way === 'in' ? own : port, 2)
    payload[13] = 0x10
    const [from, to] = way === 'in' ? [address(other), address(2)] : [address(2), address(other)]
    const packet = ipv6Packet(from, to, protocol, payload, protocol === UDP ? 6 : 16)
    return firewall[way](packet, 0, packet.length, 1)
  }
  const open = () => [pass('in', 1, UDP, 53, 9), pass('in', 1, TCP, 80, 9), pass('in', 3, UDP, 53, 9)]
  assert.deepEqual(open(), ['', '', ''])
  assert.equal(pass('out', 1, UDP, 4_000, 53), '')
  firewall.reform(by([1, 3]))
  assert.deepEqual(open(), ['', '', ''])
  firewall.reform(by([1], ports.slice(1)))
  assert.deepEqual(open(), ['not-declared', '', 'not-declared'])
  assert.equal(pass('in', 1, UDP, 4_000, 53), '')
  firewall.reform(by([3]))
  assert.deepEqual(open(), ['not-declared', 'not-declared', ''])
  assert.equal(pass('in', 1, UDP, 4_000, 53), '')
})
