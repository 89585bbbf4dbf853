import { blake3 } from '@noble/hashes/blake3.js'
import { ZosError } from '#codec'
import { ipv6Bytes } from '#sys'

/** The /64 of an address as 16 hex digits: what the routing tables are keyed by. */
export type Subnet = string

/**
 * The overlay address of an X25519 public key: 16 bytes of BLAKE3, the first byte replaced by 0x04 plus the parity of
 * its bits, which puts every node into 400::/7.
 */
export function addressOf(publicKey: Uint8Array): Buffer {
  const hash = Buffer.from(blake3(publicKey, { dkLen: 16 }))
  let bits = hash[0]!
  bits ^= bits >> 4
  bits ^= bits >> 2
  bits ^= bits >> 1
  hash[0] = 0x04 | (bits & 1)
  return hash
}

/** True for addresses of the overlay, 400::/7. */
export const isOverlay = (firstByte: number): boolean => (firstByte & 0xfe) === 0x04

/** Subnets remembered: sets of four, as two that talk may well fall into one set; one of the four gives way, in turn. */
const SETS = 256
const WAYS = 4
/** By their words, signed as small integers are: writing hex for each packet would cost more than routing it. */
const recent = Array.from({ length: SETS * WAYS }, () => ({ high: 0, low: 0, subnet: '0'.repeat(16) }))
let leaving = 0

export function subnetOf(address: Buffer, offset = 0): Subnet {
  const high = address.readInt32BE(offset)
  const low = address.readInt32BE(offset + 4)
  const set = ((high ^ low) & (SETS - 1)) * WAYS
  for (let way = 0; way < WAYS; way++) {
    const one = recent[set + way]!
    if (one.high === high && one.low === low) return one.subnet
  }
  leaving = (leaving + 1) % WAYS
  const one = recent[set + leaving]!
  one.high = high
  one.low = low
  one.subnet = address.toString('hex', offset, offset + 8)
  return one.subnet
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero words as "::". */
export function formatAddress(address: Uint8Array): string {
  const words = Array.from({ length: 8 }, (_, i) => (address[i * 2]! << 8) | address[i * 2 + 1]!)
  let best = { at: -1, length: 1 }
  for (let i = 0; i < 8; i++) {
    let length = 0
    while (i + length < 8 && words[i + length] === 0) length++
    if (length > best.length) best = { at: i, length }
    i += length
  }
  const hex = (part: number[]) => part.map((w) => w.toString(16)).join(':')
  if (best.at < 0) return hex(words)
  return `${hex(words.slice(0, best.at))}::${hex(words.slice(best.at + best.length))}`
}

export const formatSubnet = (subnet: Subnet): string =>
  `${formatAddress(Buffer.from(subnet.padEnd(32, '0'), 'hex'))}/64`

/** Reads an overlay address a person typed. */
export function parseOverlayAddress(text: string): Buffer {
  const bytes = ipv6Bytes(text)
  if (!bytes)
    throw new ZosError(`Read address "${text}": not an IPv6 address; "./zos mycelium inspect" prints them`, {
      code: 'bad-address',
    })
  if (!isOverlay(bytes[0]!))
    throw new ZosError(`Read address "${text}": not in the overlay's range 400::/7`, { code: 'bad-address' })
  return bytes
}
