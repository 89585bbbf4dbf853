import { randomInt } from 'node:crypto'
import { formatAddress } from '../address.ts'
import { checksum, IPV6_HEADER } from '../wire/icmp.ts'

const ICMPV6 = 58
const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const BODY = 32

export type ProbeResult =
  | { outcome: 'reply'; from: string; hopLimit: number; ms: number }
  /** `type` and `code` of the ICMPv6 error, RFC 4443. */
  | { outcome: 'error'; from: string; type: number; code: number; ms: number }
  /** Why packets to there failed the last time; null when none did. */
  | { outcome: 'timeout'; lastError: string | null }

type Waiting = { destination: Buffer; sentAt: number; until: number; done: (result: ProbeResult) => void }

/** Echo requests made by the daemon itself, for `ping` and `trace`; answers to them are kept from the kernel. */
export function createProbes(
  source: Buffer,
  send: (packet: Buffer) => void,
  lastError: (destination: Buffer) => string | null,
) {
  const id = randomInt(65536)
  let sequence = 0
  const waiting = new Map<number, Waiting>()

  function echo(destination: Buffer, hopLimit: number): Buffer {
    const packet = Buffer.alloc(IPV6_HEADER + 8 + BODY)
    packet[0] = 0x60
    packet.writeUInt16BE(8 + BODY, 4)
    packet[6] = ICMPV6
    packet[7] = hopLimit
    source.copy(packet, 8)
    destination.copy(packet, 24)
    packet[40] = ECHO_REQUEST
    packet.writeUInt16BE(id, 44)
    packet.writeUInt16BE(sequence, 46)
    const sum = checksum(packet, 40, packet.length, checksum(packet, 8, 40, 8 + BODY + ICMPV6))
    packet.writeUInt16BE(~sum & 0xffff, 42)
    return packet
  }

  /** TO: whom the request was for, as the answer has it. */
  function answered(sequenceNumber: number, to: Buffer, result: (ms: number) => ProbeResult): boolean {
    const one = waiting.get(sequenceNumber)
    if (!one?.destination.equals(to)) return false
    waiting.delete(sequenceNumber)
    one.done(result(performance.now() - one.sentAt))
    return true
  }

  return {
    probe(destination: Buffer, hopLimit: number, timeout: number, done: (result: ProbeResult) => void): void {
      if (destination.equals(source)) {
        done({ outcome: 'reply', from: formatAddress(source), hopLimit, ms: 0 })
        return
      }
      sequence = (sequence + 1) & 0xffff
      const sentAt = performance.now()
      waiting.set(sequence, { destination, sentAt, until: sentAt + timeout, done })
      send(echo(destination, hopLimit))
    },

    /** True when the packet at BYTES[at, at+length) answers a probe. */
    intercept(bytes: Buffer, at: number, length: number): boolean {
      if (waiting.size === 0 || bytes[at + 6] !== ICMPV6 || length < 48) return false
      const packet = bytes.subarray(at, at + length)
      const from = formatAddress(packet.subarray(8, 24))
      const type = packet[40]!
      if (type === ECHO_REPLY) {
        if (packet.readUInt16BE(44) !== id) return false
        const hopLimit = packet[7]!
        return answered(packet.readUInt16BE(46), packet.subarray(8, 24), (ms) => ({
          outcome: 'reply',
          from,
          hopLimit,
          ms,
        }))
      }
      // an error quotes the request: its header starts after 40 + 8 bytes
      if (type >= 128 || packet.length < 96 || packet[54] !== ICMPV6 || packet[88] !== ECHO_REQUEST) return false
      if (packet.readUInt16BE(92) !== id) return false
      const code = packet[41]!
      const to = packet.subarray(72, 88)
      return answered(packet.readUInt16BE(94), to, (ms) => ({ outcome: 'error', from, type, code, ms }))
    },

    /** Gives up what has waited too long; returns when to call again. */
    tick(now: number): number {
      let next = Number.POSITIVE_INFINITY
      for (const [number, one] of waiting) {
        if (one.until <= now) {
          waiting.delete(number)
          one.done({ outcome: 'timeout', lastError: lastError(one.destination) })
        } else next = Math.min(next, one.until)
      }
      return next
    },
  }
}
