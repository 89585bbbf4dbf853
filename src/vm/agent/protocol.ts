/**
 * The frames of the agent line (docs/formats/agent.md): u8 type, u24 payload length, u32 stream (little-endian), payload,
 * 4 bytes of trailer. Pure and without imports but utf8.ts, because QuickJS runs this file in the guest.
 */
import { decodeUtf8, encodeUtf8 } from './utf8.ts'

export const VERSION = 1
export const MAX_PAYLOAD = 65536
export const HEADER = 8
export const TRAILER = 4
/** Bytes that may be under way per stream and direction before the receiver has to grant more. */
export const WINDOW = 128 * 1024
/** What the guest keeps of the main process's output until it is acknowledged. */
export const RING = 256 * 1024
/** Zeros longer than any frame: whatever an earlier host left half-written ends in them, with a trailer that is wrong. */
export const FILLER = HEADER + MAX_PAYLOAD + TRAILER

export const Frame = {
  /** Host: magic 16, nonce 16, u32 version, u64 resume offset. A reset of everything but the main process. */
  hello: 1,
  /** Guest: nonce 16, then AgentState as JSON. */
  helloAck: 2,
  /** Host: JSON {method, params}; the stream number is the request's, chosen by the host, never used twice. */
  request: 3,
  /** Guest: JSON {ok} or {error: AgentFailure}. */
  reply: 4,
  /** Both: bytes of the stream; on stream 0 from the host: the main process's stdin. */
  data: 5,
  /** Guest: bytes of a process's standard error; same window as `data`. */
  errorData: 6,
  /** Both: no more data in this direction. */
  end: 7,
  /** Both: u32, this many bytes more may be sent. */
  credit: 8,
  /** Both: JSON AgentFailure or nothing: the stream is over at once. */
  reset: 9,
  /** Guest: JSON ExitStatus; last frame of an exec or copy stream. */
  exit: 10,
  /** Guest: u56 offset, u8 channel (1 stdout, 2 stderr), bytes of the main process's output. */
  output: 11,
  /** Host: u64, output below is durable. */
  ack: 12,
  /** Guest: JSON ExitStatus of the main process, after all its output. */
  exited: 13,
} as const
const LAST = Frame.exited

/** Opens the payload of `hello`: what a guest that lost step looks for. */
export const MAGIC = Uint8Array.from([
  0x5a, 0x4f, 0x53, 0x2d, 0x61, 0x67, 0x65, 0x6e, 0x74, 0xe7, 0x1c, 0x93, 0xb5, 0x08, 0xda, 0x6f,
])
export const NONCE = 16
const END = 0x915ec37a

export function putHeader(bytes: Uint8Array, at: number, type: number, stream: number, length: number): void {
  bytes[at] = type
  bytes[at + 1] = length & 0xff
  bytes[at + 2] = (length >> 8) & 0xff
  bytes[at + 3] = length >> 16
  putU32(bytes, at + 4, stream)
}

export function putTrailer(bytes: Uint8Array, at: number): void {
  putU32(bytes, at, END)
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff
  bytes[at + 1] = (value >>> 8) & 0xff
  bytes[at + 2] = (value >>> 16) & 0xff
  bytes[at + 3] = value >>> 24
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

// a power is worked out each time by the engine in the guest
const TWO_32 = 0x1_0000_0000

/** Numbers up to 2^53: the upper bytes stay zero. */
export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0)
  putU32(bytes, at + 4, Math.floor(value / TWO_32))
}

export function getU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU32(bytes, at + 4) * TWO_32
}

export function encodeFrame(type: number, stream: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER + payload.length + TRAILER)
  putHeader(frame, 0, type, stream, payload.length)
  frame.set(payload, HEADER)
  putTrailer(frame, HEADER + payload.length)
  return frame
}

export function encodeJson(type: number, stream: number, value: unknown): Uint8Array {
  return encodeFrame(type, stream, encodeUtf8(JSON.stringify(value)))
}

export function encodeU64(type: number, stream: number, value: number): Uint8Array {
  const payload = new Uint8Array(8)
  putU64(payload, 0, value)
  return encodeFrame(type, stream, payload)
}

export function encodeCredit(stream: number, bytes: number): Uint8Array {
  const payload = new Uint8Array(4)
  putU32(payload, 0, bytes)
  return encodeFrame(Frame.credit, stream, payload)
}

export function decodeJson(payload: Uint8Array, from = 0): unknown {
  return JSON.parse(decodeUtf8(payload, from))
}

/** Out of step: everything is skipped until `marker` opens a payload. null: in step. */
export type Step = { marker: Uint8Array | null }

/** Offset of MARKER in bytes[from, to), or -1. */
function find(bytes: Uint8Array, marker: Uint8Array, from: number, to: number): number {
  for (let at = from; ; at++) {
    at = bytes.indexOf(marker[0]!, at)
    if (at < 0 || at + marker.length > to) return -1
    let same = 1
    while (same < marker.length && bytes[at + same] === marker[same]) same++
    if (same === marker.length) return at
  }
}

/**
 * Hands the whole frames in bytes[from, to) to FRAME, and returns the offset of the first byte not used up. A frame that
 * is none (type, length, trailer) calls LOST, which returns what to look for from there on. PAYLOAD is a view.
 */
export function parseFrames(
  step: Step,
  bytes: Uint8Array,
  from: number,
  to: number,
  frame: (type: number, stream: number, payload: Uint8Array) => void,
  lost: () => Uint8Array,
): number {
  let at = from
  for (;;) {
    if (step.marker) {
      const found = find(bytes, step.marker, at + HEADER, to)
      if (found < 0) return Math.max(at, to - HEADER - step.marker.length + 1)
      at = found - HEADER
      const type = bytes[at]!
      // a marker in the middle of something else is none
      if (type !== Frame.hello && type !== Frame.helloAck) {
        at++
        continue
      }
      step.marker = null
    }
    if (at === to) return at
    let bad = bytes[at] === 0 || bytes[at]! > LAST
    if (!bad && to - at < HEADER) return at
    const length = bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16)
    bad ||= length > MAX_PAYLOAD
    const end = at + HEADER + length
    if (!bad && to < end + TRAILER) return at
    if (bad || getU32(bytes, end) !== END) {
      step.marker = lost()
      at++
      continue
    }
    const stream = getU32(bytes, at + 4)
    const payload = bytes.subarray(at + HEADER, end)
    at = end + TRAILER
    frame(bytes[at - TRAILER - length - HEADER]!, stream, payload)
  }
}
