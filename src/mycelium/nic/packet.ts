import { checksum, IPV6_HEADER } from '../wire/icmp.ts'

/** IANA protocol numbers; the first four are IPv6 extension headers that may stand before one of the others. */
const HOP_BY_HOP = 0
const ROUTING = 43
export const FRAGMENT = 44
const DESTINATION_OPTIONS = 60
export const TCP = 6
export const UDP = 17
export const ICMPV6 = 58
/** Extension headers looked behind; nobody needs more. */
const MAX_EXTENSIONS = 4

/** What a packet is about: filled in by `readUpper`, one for all packets of a thread. */
export type Upper = {
  /** FRAGMENT for all but the first fragment of a packet, whose ports are in the first. */
  protocol: number
  /** Where the upper layer's header begins. */
  at: number
  /** 0 where the protocol has none; for ICMPv6 the type, and an echo's identifier. */
  sourcePort: number
  destinationPort: number
}

/** Finds the upper layer of the IPv6 packet at BYTES[at, at+length); false when it is cut short or nested too deep. */
export function readUpper(bytes: Uint8Array, at: number, length: number, into: Upper): boolean {
  const end = at + length
  if (length < IPV6_HEADER) return false
  let protocol = bytes[at + 6]!
  let header = at + IPV6_HEADER
  for (let n = 0; ; n++) {
    const extension = protocol === HOP_BY_HOP || protocol === ROUTING || protocol === DESTINATION_OPTIONS
    if (!extension && protocol !== FRAGMENT) break
    if (n === MAX_EXTENSIONS || header + 8 > end) return false
    if (protocol === FRAGMENT) {
      const offset = ((bytes[header + 2]! << 8) | bytes[header + 3]!) & 0xfff8
      if (offset > 0) break
    }
    protocol = bytes[header]!
    header += extension ? (bytes[header + 1]! + 1) * 8 : 8
  }
  if (header > end) return false
  into.protocol = protocol
  into.at = header
  into.sourcePort = 0
  into.destinationPort = 0
  if (protocol === TCP || protocol === UDP) {
    if (header + 8 > end) return false
    into.sourcePort = (bytes[header]! << 8) | bytes[header + 1]!
    into.destinationPort = (bytes[header + 2]! << 8) | bytes[header + 3]!
  } else if (protocol === ICMPV6) {
    if (header + 8 > end) return false
    into.sourcePort = bytes[header]!
    into.destinationPort = (bytes[header + 4]! << 8) | bytes[header + 5]!
  }
  return true
}

const HOP_LIMIT = 64

/** An IPv6 packet around PAYLOAD, its checksum (at CHECKSUM_AT of the payload, zero so far) filled in. */
export function ipv6Packet(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  payload: Uint8Array,
  checksumAt: number,
): Buffer {
  const packet = Buffer.alloc(IPV6_HEADER + payload.length)
  packet[0] = 0x60
  packet.writeUInt16BE(payload.length, 4)
  packet[6] = protocol
  packet[7] = HOP_LIMIT
  packet.set(source, 8)
  packet.set(destination, 24)
  packet.set(payload, IPV6_HEADER)
  // RFC 8200 §8.1: both addresses, the length and the protocol come before the payload
  const pseudo = checksum(packet, 8, IPV6_HEADER, payload.length + protocol)
  const sum = ~checksum(packet, IPV6_HEADER, packet.length, pseudo) & 0xffff
  // UDP's zero means "none"
  packet.writeUInt16BE(sum || 0xffff, IPV6_HEADER + checksumAt)
  return packet
}
