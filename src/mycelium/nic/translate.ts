import { checksum, IPV6_HEADER } from '../wire/icmp.ts'
import { IPV4_GATEWAY } from './network.ts'
import { ICMPV6, TCP, UDP } from './packet.ts'

/**
 * IPv4 inside a private network: stateless translation by explicit mappings (RFC 7915, RFC 7757). A member's IPv4 address
 * A.B.C.D is, between nodes, its /64 with the host part 0:0:A.B.C.D, which belongs to its key as all of the /64 does. Not
 * translated, and dropped: fragments, options, and errors that guests send; they find the path's size by those they get.
 */
export const IPV4_HEADER = 20
/** What translation to IPv6 puts before a packet, and translation to IPv4 takes away. */
export const GROWTH = IPV6_HEADER - IPV4_HEADER
const VERSION_AND_LENGTH = 0x45
const DO_NOT_FRAGMENT = 0x4000
const FRAGMENT_BITS = 0x3fff
/** ICMP, RFC 792; ICMPv6, RFC 4443; what becomes what, RFC 7915 §4.2 and §5.2. */
const ICMP = 1
const ECHO_4 = 8
const ECHO_REPLY_4 = 0
const UNREACHABLE_4 = 3
const EXCEEDED_4 = 11
const HOST_UNREACHABLE_4 = 1
const PORT_UNREACHABLE_4 = 3
const TOO_BIG_4 = 4
const PROHIBITED_4 = 10
const ECHO_6 = 128
const ECHO_REPLY_6 = 129
const UNREACHABLE_6 = 1
const PROHIBITED_6 = 1
const PORT_UNREACHABLE_6 = 4
const TOO_BIG_6 = 2
const EXCEEDED_6 = 3
/** An ICMP error's own header; behind it the packet it is about, of which so much is quoted. */
const ERROR_HEADER = 8
const QUOTED = 64

export type Mapping = {
  /** The card's own. */
  own: number
  /** What stands for an IPv4 address of the network; undefined for one nobody has. */
  toIpv6: (ipv4: number) => Buffer | undefined
  /** What the address at BYTES[at, at+16) stands for; undefined for one that stands for none. */
  toIpv4: (bytes: Buffer, at: number) => number | undefined
}

/** The complement of a sum of 16-bit words. */
function finish(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return ~(once + (once >>> 16)) & 0xffff
}

/** Where the protocols that are translated keep their checksum, from their header; undefined for others. */
const checksumAt = (protocol: number): number | undefined =>
  protocol === TCP ? 16 : protocol === UDP ? 6 : protocol === ICMPV6 ? 2 : undefined

/** The checksum at AT for addresses that sum up to NOW where they summed up to BEFORE (RFC 1624, equation 3). */
function readdress(bytes: Buffer, at: number, before: number, now: number): void {
  const sum = (~bytes.readUInt16BE(at) & 0xffff) + (~before & 0xffff) + now
  // UDP's zero means "none"
  bytes.writeUInt16BE(finish(sum) || 0xffff, at)
}

/** Makes the checksum at FIELD of the payload at UPPER anew, the pseudo header having the sum PSEUDO. */
function sumUp(bytes: Buffer, upper: number, payload: number, field: number, pseudo: number): void {
  bytes.writeUInt16BE(0, upper + field)
  const sum = checksum(bytes, upper, upper + payload, pseudo)
  bytes.writeUInt16BE(finish(sum) || 0xffff, upper + field)
}

/**
 * Makes IPv6 of the IPv4 packet at BYTES[at, at+length), which then begins GROWTH bytes earlier. Gives its new length; 0
 * for what is not translated, the packet being spoilt.
 */
export function toIpv6(bytes: Buffer, at: number, length: number, map: Mapping): number {
  if (length < IPV4_HEADER || bytes[at] !== VERSION_AND_LENGTH) return 0
  const total = bytes.readUInt16BE(at + 2)
  if (total < IPV4_HEADER || total > length || bytes.readUInt16BE(at + 6) & FRAGMENT_BITS) return 0
  const source = bytes.readUInt32BE(at + 12)
  const from = map.toIpv6(source)
  const to = map.toIpv6(bytes.readUInt32BE(at + 16))
  if (source !== map.own || !from || !to) return 0
  const before = checksum(bytes, at + 12, at + 20)
  const protocol = bytes[at + 9] === ICMP ? ICMPV6 : bytes[at + 9]!
  const hops = bytes[at + 8]!
  const payload = total - IPV4_HEADER
  const field = checksumAt(protocol)
  if (field === undefined || payload < Math.max(field + 2, ERROR_HEADER)) return 0
  const start = at - GROWTH
  const upper = at + IPV4_HEADER
  bytes.writeUInt32BE(0x60000000, start)
  bytes.writeUInt16BE(payload, start + 4)
  bytes[start + 6] = protocol
  bytes[start + 7] = hops
  from.copy(bytes, start + 8)
  to.copy(bytes, start + 24)
  const now = checksum(bytes, start + 8, start + 40)
  if (protocol === ICMPV6) {
    const type = bytes[upper]
    if (type !== ECHO_4 && type !== ECHO_REPLY_4) return 0
    bytes[upper] = type === ECHO_4 ? ECHO_6 : ECHO_REPLY_6
    sumUp(bytes, upper, payload, field, now + payload + protocol)
  } else if (protocol === UDP && bytes.readUInt16BE(upper + field) === 0)
    sumUp(bytes, upper, payload, field, now + payload + protocol)
  else readdress(bytes, upper + field, before, now)
  return IPV6_HEADER + payload
}

/**
 * Makes IPv4 of the IPv6 packet at BYTES[at, at+length), which then begins GROWTH bytes later. Gives its new length; 0 for
 * what is not translated, the packet being spoilt. Errors: `errorToIpv4`.
 */
export function toIpv4(bytes: Buffer, at: number, length: number, map: Mapping): number {
  const source = map.toIpv4(bytes, at + 8)
  const destination = map.toIpv4(bytes, at + 24)
  const payload = length - IPV6_HEADER
  if (source === undefined || destination === undefined || payload + IPV4_HEADER > 0xffff) return 0
  const upper = at + IPV6_HEADER
  const protocol = bytes[at + 6]!
  const field = checksumAt(protocol)
  if (field === undefined || payload < Math.max(field + 2, ERROR_HEADER)) return 0
  const before = checksum(bytes, at + 8, at + 40)
  const hops = bytes[at + 7]!
  const start = at + GROWTH
  if (protocol === ICMPV6) {
    const type = bytes[upper]
    if (type !== ECHO_6 && type !== ECHO_REPLY_6) return 0
    bytes[upper] = type === ECHO_6 ? ECHO_4 : ECHO_REPLY_4
    bytes.writeUInt16BE(0, upper + field)
    bytes.writeUInt16BE(finish(checksum(bytes, upper, upper + payload)), upper + field)
  }
  writeHeader(bytes, start, { total: IPV4_HEADER + payload, protocol, hops, source, destination })
  if (protocol !== ICMPV6) readdress(bytes, upper + field, before, checksum(bytes, start + 12, start + 20))
  return IPV4_HEADER + payload
}

type Header = { total: number; protocol: number; hops: number; source: number; destination: number }

/** An IPv4 header without options at AT, its checksum included. */
export function writeHeader(bytes: Buffer, at: number, { total, protocol, hops, source, destination }: Header): void {
  bytes[at] = VERSION_AND_LENGTH
  bytes[at + 1] = 0
  bytes.writeUInt16BE(total, at + 2)
  bytes.writeUInt32BE(DO_NOT_FRAGMENT, at + 4)
  bytes[at + 8] = hops
  bytes[at + 9] = protocol === ICMPV6 ? ICMP : protocol
  bytes.writeUInt16BE(0, at + 10)
  bytes.writeUInt32BE(source, at + 12)
  bytes.writeUInt32BE(destination, at + 16)
  bytes.writeUInt16BE(finish(checksum(bytes, at, at + IPV4_HEADER)), at + 10)
}

/** ICMP type, code and the word behind the checksum for an ICMPv6 error. */
function errorOf(type: number, code: number, word: number): [type: number, code: number, word: number] | undefined {
  if (type === TOO_BIG_6) return [UNREACHABLE_4, TOO_BIG_4, Math.max(word - GROWTH, 0) & 0xffff]
  if (type === EXCEEDED_6) return [EXCEEDED_4, code, 0]
  if (type !== UNREACHABLE_6) return undefined
  if (code === PROHIBITED_6) return [UNREACHABLE_4, PROHIBITED_4, 0]
  return [UNREACHABLE_4, code === PORT_UNREACHABLE_6 ? PORT_UNREACHABLE_4 : HOST_UNREACHABLE_4, 0]
}

/**
 * The ICMP error for the ICMPv6 error PACKET about one that was translated for this card; undefined when it is about
 * another. It comes from the node's end of the link: routers between have no IPv4 address.
 */
export function errorToIpv4(packet: Buffer, map: Mapping): Buffer | undefined {
  const upper = IPV6_HEADER
  const about = packet.subarray(upper + ERROR_HEADER, upper + ERROR_HEADER + IPV6_HEADER + QUOTED)
  if (about.length < IPV6_HEADER + ERROR_HEADER) return undefined
  const error = errorOf(packet[upper]!, packet[upper + 1]!, packet.readUInt32BE(upper + 4))
  const source = map.toIpv4(about, 8)
  const destination = map.toIpv4(about, 24)
  if (!error || source !== map.own || destination === undefined) return undefined
  const protocol = about[6]!
  const quoted = about.subarray(IPV6_HEADER)
  const bytes = Buffer.alloc(IPV4_HEADER + ERROR_HEADER + IPV4_HEADER + quoted.length)
  writeHeader(bytes, 0, { total: bytes.length, protocol: ICMP, hops: 64, source: IPV4_GATEWAY, destination: map.own })
  const inner = IPV4_HEADER + ERROR_HEADER
  const total = IPV4_HEADER + about.readUInt16BE(4)
  writeHeader(bytes, inner, { total: total & 0xffff, protocol, hops: about[7]!, source, destination })
  quoted.copy(bytes, inner + IPV4_HEADER)
  if (protocol === ICMPV6) bytes[inner + IPV4_HEADER] = quoted[0] === ECHO_6 ? ECHO_4 : ECHO_REPLY_4
  bytes[IPV4_HEADER] = error[0]
  bytes[IPV4_HEADER + 1] = error[1]
  bytes.writeUInt32BE(error[2], IPV4_HEADER + 4)
  bytes.writeUInt16BE(finish(checksum(bytes, IPV4_HEADER, bytes.length)), IPV4_HEADER + 2)
  return bytes
}
