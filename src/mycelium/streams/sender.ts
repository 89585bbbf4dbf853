import { HEADER, KIND } from './wire.ts'

/** Pieces on their way at most, at first, and after everything was lost. */
const MOST = 16
const FIRST = 4
const LEAST = 2
/** Milliseconds until a piece is said again: of the round trip, within these, doubled each time. */
export const SHORTEST = 200
const LONGEST = 5_000
/** A piece that was said so often does not pass. */
const TRIES = 8
/** Acknowledgements of the same piece after which the one behind it counts as lost (RFC 5681 §3.2). */
const REPEATS = 3

type InFlight = { number: number; kind: number; body: Buffer; sent: number; tries: number }

/**
 * One direction of a stream, as it is sent: pieces in order, each until it is acknowledged, no more at once than the other
 * side and the way take. Time is the caller's, in milliseconds.
 */
export function createSender(say: (kind: number, number: number, body: Buffer) => void) {
  const inFlight: InFlight[] = []
  const waiting: { kind: number; body: Buffer }[] = []
  let next = 0
  let acknowledged = 0
  /** The first number the other side does not take yet. */
  let limit = 0
  let room = FIRST
  let roundTrip = 0
  let repeats = 0
  /** Pieces below this number were on their way when a loss was found: those that prove missing too are repeated at once. */
  let recovering = 0

  const timeout = ({ tries }: InFlight): number =>
    Math.min(LONGEST, Math.max(SHORTEST, 2 * roundTrip + 50) * 2 ** (tries - 1))

  function put(one: InFlight, now: number): void {
    one.sent = now
    one.tries++
    say(one.kind, one.number, one.body)
  }

  function pump(now: number): void {
    while (waiting.length > 0 && inFlight.length < room && next < limit) {
      const { kind, body } = waiting.shift()!
      const one = { number: next++, kind, body, sent: 0, tries: 0 }
      inFlight.push(one)
      put(one, now)
    }
  }

  function lost(now: number): void {
    room = Math.max(LEAST, room >> 1)
    recovering = next
    put(inFlight[0]!, now)
  }

  return {
    /** BYTES in pieces of SIZE, header included. */
    data(bytes: Buffer, size: number, now: number): void {
      for (let at = 0; at < bytes.length; at += size - HEADER)
        waiting.push({ kind: KIND.data, body: bytes.subarray(at, at + size - HEADER) })
      pump(now)
    },
    end(now: number): void {
      waiting.push({ kind: KIND.end, body: Buffer.alloc(0) })
      pump(now)
    },
    /** True when the other side has taken something new. */
    acknowledge(number: number, window: number, now: number): boolean {
      if (number < acknowledged || number > next) return false
      limit = Math.max(limit, number + window)
      const taken = number - acknowledged
      acknowledged = number
      for (const one of inFlight.splice(0, taken))
        if (one.tries === 1) roundTrip = roundTrip === 0 ? now - one.sent : (7 * roundTrip + now - one.sent) / 8
      if (taken > 0) {
        repeats = 0
        room = Math.min(MOST, room + 1)
        if (inFlight.length > 0 && number < recovering) put(inFlight[0]!, now)
      } else if (inFlight.length > 0 && ++repeats === REPEATS) lost(now)
      pump(now)
      return taken > 0
    },
    /** Says again what is late; false when it was said too often. */
    tick(now: number): boolean {
      const first = inFlight[0]
      if (!first || now - first.sent <= timeout(first)) return true
      if (first.tries >= TRIES) return false
      lost(now)
      return true
    },
    /** When `tick` has something to do, unless what was sent is acknowledged before. */
    get due(): number {
      const first = inFlight[0]
      return first ? first.sent + timeout(first) : Number.POSITIVE_INFINITY
    },
    /** Nothing waits for a place on the way. */
    get isDrained(): boolean {
      return waiting.length === 0
    },
    get isDone(): boolean {
      return waiting.length === 0 && inFlight.length === 0
    },
  }
}
