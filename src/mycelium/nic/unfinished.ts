import { finishChecksum, noOffload, type PacketBuffer, readVnet, VNET_HEADER } from '../daemon/offload.ts'
import { checksum, IPV6_HEADER } from '../wire/icmp.ts'
import { TCP, UDP } from './packet.ts'
import { IPV4_HEADER } from './translate.ts'
import { ETHERNET } from './wire.ts'

const IPV4 = 0x0800
const IPV6 = 0x86dd
const NEEDS_CHECKSUM = 1
/** More-fragments and offset of IPv4. */
const FRAGMENT_BITS = 0x3fff
const CHECKSUM_OFFSET = new Map([
  [TCP, 16],
  [UDP, 6],
])

const offload = noOffload()

/** Finishes what a machine left to its card in the frame at AT, behind its virtio header; false for what we did not offer. */
export function finish(frame: PacketBuffer, at: number, length: number): boolean {
  if (!readVnet(frame.bytes, at, offload) || offload.gsoSize > 0) return false
  return offload.checksumStart === 0 || finishChecksum(frame, at, length, offload, ETHERNET + IPV4_HEADER)
}

/**
 * Writes the virtio header of the frame at AT, which came out of an authenticated packet: its machine need not sum up what
 * is in it. The field has the pseudo header's sum then, should the machine send it on.
 */
export function leave(bytes: Buffer, at: number, length: number): void {
  bytes.fill(0, at - VNET_HEADER, at)
  const type = bytes.readUInt16BE(at + 12)
  const ip = at + ETHERNET
  let protocol = 0
  let upper = 0
  let addresses = 0
  if (type === IPV6 && length >= ETHERNET + IPV6_HEADER) {
    protocol = bytes[ip + 6]!
    upper = ip + IPV6_HEADER
    addresses = ip + 8
  } else if (type === IPV4 && (bytes.readUInt16BE(ip + 6) & FRAGMENT_BITS) === 0) {
    protocol = bytes[ip + 9]!
    upper = ip + (bytes[ip]! & 15) * 4
    addresses = ip + 12
  }
  const offset = CHECKSUM_OFFSET.get(protocol)
  const end = at + length
  if (offset === undefined || upper + offset + 2 > end) return
  const pseudo = checksum(bytes, addresses, type === IPV6 ? upper : addresses + 8, protocol + end - upper)
  bytes.writeUInt16BE(pseudo, upper + offset)
  const head = at - VNET_HEADER
  bytes[head] = NEEDS_CHECKSUM
  bytes.writeUInt16LE(upper - at, head + 6)
  bytes.writeUInt16LE(offset, head + 8)
}
