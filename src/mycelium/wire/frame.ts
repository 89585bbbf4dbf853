/**
 * Frames on a peer connection, everything big-endian (docs/formats/mycelium.md):
 *   version 1 | type | 0 0 | what the type says, which carries its own length.
 * Nothing here allocates: a frame is a range of the receive buffer.
 */
export const FRAME_HEADER = 4
export const VERSION = 1
export const DATA = 0
export const CONTROL = 1

/** After the frame header: 0 | length u16 | hop limit u8 | source[16] | destination[16] | body[length] */
const DATA_HEADER = 36
export const LENGTH_AT = FRAME_HEADER + 1
export const HOP_LIMIT_AT = FRAME_HEADER + 3
export const SOURCE_AT = FRAME_HEADER + 4
export const DESTINATION_AT = SOURCE_AT + 16
export const BODY_AT = FRAME_HEADER + DATA_HEADER
export const MAX_FRAME = BODY_AT + 0xffff
/** Upstream's MTU: what a packet may weigh on any path of the public network. */
export const MTU = 1400

/** After the frame header: 42 | 2 or 3 | length u16 | TLVs (RFC 8966 §4.2; upstream writes version 3) */
export const BABEL_HEADER = 4
export const BABEL_MAGIC = 42
export const BABEL_VERSION = 3
/** One TLV of at most 2 + 255 bytes is all upstream sends; a body beyond this is hostile. */
const MAX_CONTROL_BODY = 2048

/** What is wrong with bytes that are no frame: the names of the counters. */
export type FrameFault = 'bad-version' | 'bad-type' | 'bad-control-header' | 'control-too-long' | 'bad-data-header'

/** Thrown for bytes no later byte can repair: the connection ends. */
export class FrameError extends Error {
  readonly fault: FrameFault | 'bad-message'
  constructor(fault: FrameFault | 'bad-message', detail = '') {
    super(detail ? `${fault}: ${detail}` : fault)
    this.fault = fault
  }
}

/** Length of the frame at BYTES[start], 0 while bytes (up to END) are missing; throws FrameError as early as it can. */
export function frameLength(bytes: Buffer, start: number, end: number): number {
  const have = end - start
  if (have < 1) return 0
  if (bytes[start] !== VERSION) throw new FrameError('bad-version', String(bytes[start]))
  if (have < 2) return 0
  const type = bytes[start + 1]!
  if (type !== DATA && type !== CONTROL) throw new FrameError('bad-type', String(type))
  if (have < FRAME_HEADER + 4) return 0
  if (type === DATA) {
    if (bytes[start + FRAME_HEADER] !== 0) throw new FrameError('bad-data-header')
    const length = BODY_AT + ((bytes[start + LENGTH_AT]! << 8) | bytes[start + LENGTH_AT + 1]!)
    return have < length ? 0 : length
  }
  if (bytes[start + 4] !== BABEL_MAGIC || bytes[start + 5] !== BABEL_VERSION)
    throw new FrameError('bad-control-header', `${bytes[start + 4]}.${bytes[start + 5]}`)
  const body = (bytes[start + 6]! << 8) | bytes[start + 7]!
  if (body > MAX_CONTROL_BODY) throw new FrameError('control-too-long', String(body))
  const length = FRAME_HEADER + BABEL_HEADER + body
  return have < length ? 0 : length
}

/** Writes both headers of a data frame whose body is LENGTH bytes, except the addresses. */
export function writeDataHeader(bytes: Buffer, at: number, length: number, hopLimit: number): void {
  bytes[at] = VERSION
  bytes[at + 1] = DATA
  bytes[at + 2] = 0
  bytes[at + 3] = 0
  bytes[at + 4] = 0
  bytes[at + 5] = length >> 8
  bytes[at + 6] = length & 0xff
  bytes[at + 7] = hopLimit
}
