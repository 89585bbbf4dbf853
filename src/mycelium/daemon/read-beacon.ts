import { ipv6Bytes } from '#sys'
import { BEACON, KEY_AT, LINK_LOCAL, MAGIC } from './beacon.ts'

// Loaded on the packet thread alone, where no ffi is.

/** Of two that find each other the one with the smaller key dials, the other only if it does not. Milliseconds. */
const POLITE = 2_000

/**
 * Where the node listens that a beacon from IP speaks of; undefined for what is none, or our own. Who sent it may lie about all
 * but its address.
 */
export function readBeacon(bytes: Buffer, ip: string, own: Buffer): { port: number; delay: number } | undefined {
  if (ipv6Bytes(ip)?.indexOf(LINK_LOCAL) !== 0) return undefined
  if (bytes.length !== BEACON || bytes.indexOf(MAGIC) !== 0) return undefined
  const key = bytes.subarray(KEY_AT, KEY_AT + 32)
  const port = bytes.readUInt16BE(MAGIC.length)
  if (port === 0 || key.equals(own)) return undefined
  return { port, delay: own.compare(key) < 0 ? 0 : POLITE }
}
