/** ICMPv6 errors (RFC 4443) and what upstream wraps them in, "out of band" ICMP. */
export const IPV6_HEADER = 40
const ICMPV6 = 58
const ICMP_HEADER = 8
const HOP_LIMIT = 64
/** RFC 4443 §2.4 c: an error never exceeds the smallest IPv6 MTU. */
const MIN_MTU = 1280
const OOB_BODY_LIMIT = MIN_MTU - IPV6_HEADER - ICMP_HEADER

export type IcmpError = { type: number; code: number; value?: number }
export const noRoute: IcmpError = { type: 1, code: 0 }
export const adminProhibited: IcmpError = { type: 1, code: 1 }
export const addressUnreachable: IcmpError = { type: 1, code: 3 }
export const sourcePolicy: IcmpError = { type: 1, code: 5 }
export const timeExceeded: IcmpError = { type: 3, code: 0 }
export const tooBig = (mtu: number): IcmpError => ({ type: 2, code: 0, value: mtu })

/** Ones' complement sum of BYTES[from, to) on top of SUM, not folded to the end. */
export function checksum(bytes: Uint8Array, from: number, to: number, sum = 0): number {
  let at = from
  let total = sum
  for (; at + 1 < to; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!
  if (at < to) total += bytes[at]! << 8
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 65536)
  return total
}

/** True for ICMPv6 errors themselves, which must not be answered by errors (RFC 4443 §2.4 e). */
export const isIcmpError = (bytes: Uint8Array, at = 0, length = bytes.length): boolean =>
  length > IPV6_HEADER && bytes[at + 6] === ICMPV6 && bytes[at + IPV6_HEADER]! < 128

/** An IPv6 packet with an ICMPv6 error about OFFENDING, as much of which as fits is quoted. */
export function icmpError(source: Uint8Array, to: Uint8Array, error: IcmpError, offending: Uint8Array): Buffer {
  const quoted = offending.subarray(0, OOB_BODY_LIMIT)
  const length = ICMP_HEADER + quoted.length
  const packet = Buffer.alloc(IPV6_HEADER + length)
  packet[0] = 0x60
  packet.writeUInt16BE(length, 4)
  packet[6] = ICMPV6
  packet[7] = HOP_LIMIT
  packet.set(source, 8)
  packet.set(to, 24)
  packet[40] = error.type
  packet[41] = error.code
  packet.writeUInt32BE(error.value ?? 0, 44)
  packet.set(quoted, 48)
  // RFC 8200 §8.1: the pseudo header is both addresses, the length and the next header
  const pseudo = checksum(packet, 8, 40, length + ICMPV6)
  packet.writeUInt16BE(~checksum(packet, 40, packet.length, pseudo) & 0xffff, 42)
  return packet
}

/** The payload of an OOB ICMP: the unreached destination[16], then the error quoting the still sealed body. */
export function wrapOob(destination: Uint8Array, icmp: Uint8Array): Buffer {
  return Buffer.concat([destination, icmp])
}

/** An error about a frame's sealed body; upstream leaves the body out when it does not fit. */
export const quotedBody = (body: Uint8Array): Uint8Array => (body.length > OOB_BODY_LIMIT ? body.subarray(0, 0) : body)

export type Oob = { destination: Buffer; reporter: Buffer; error: IcmpError; body: Buffer }

/** Reads an OOB ICMP payload; undefined when it is none. */
export function readOob(payload: Buffer): Oob | undefined {
  const icmpAt = 16 + IPV6_HEADER
  if (payload.length < icmpAt + ICMP_HEADER || payload[16]! >> 4 !== 6 || payload[16 + 6] !== ICMPV6) return undefined
  const error = { type: payload[icmpAt]!, code: payload[icmpAt + 1]!, value: payload.readUInt32BE(icmpAt + 4) }
  if (error.type < 1 || error.type > 4) return undefined
  return {
    destination: payload.subarray(0, 16),
    reporter: payload.subarray(24, 40),
    error,
    body: payload.subarray(icmpAt + ICMP_HEADER),
  }
}
