/**
 * A piece of a stream, the payload of a sealed body of type 19, big-endian:
 * `kind u8 | sent by who opened it u8 (1 or 0) | window u16 | stream u32 | number u32`, then what the kind has.
 */
export const HEADER = 12
export const MAX_SERVICE = 32
export const MAX_REASON = 200

export const KIND = {
  /** Length u8 and name of a service. NUMBER: how long pieces are to be; with zeros up to that where it is not known to pass. */
  open: 1,
  /** Of the same NUMBER and length as the OPEN that it answers. */
  accept: 2,
  /** Bytes: piece NUMBER of this direction. */
  data: 3,
  /** Nothing comes behind NUMBER. It counts as a piece. */
  end: 4,
  /** Everything before NUMBER has come; WINDOW more pieces are welcome. */
  ack: 5,
  /** It is over; the reason in words. */
  reset: 6,
} as const
const LAST_KIND = KIND.reset

export type Piece = {
  kind: number
  opener: boolean
  window: number
  stream: number
  number: number
  body: Buffer
}

export function encodePiece({ kind, opener, window, stream, number, body }: Piece): Buffer {
  const bytes = Buffer.alloc(HEADER + body.length)
  bytes[0] = kind
  bytes[1] = opener ? 1 : 0
  bytes.writeUInt16BE(window, 2)
  bytes.writeUInt32BE(stream, 4)
  bytes.writeUInt32BE(number, 8)
  body.copy(bytes, HEADER)
  return bytes
}

/** Undefined for what is no piece. */
export function decodePiece(bytes: Buffer): Piece | undefined {
  if (bytes.length < HEADER) return undefined
  const [kind, opener] = [bytes[0]!, bytes[1]!]
  if (kind < KIND.open || kind > LAST_KIND || opener > 1) return undefined
  const body = bytes.subarray(HEADER)
  if (kind === KIND.data && body.length === 0) return undefined
  return {
    kind,
    opener: opener === 1,
    window: bytes.readUInt16BE(2),
    stream: bytes.readUInt32BE(4),
    number: bytes.readUInt32BE(8),
    body,
  }
}

/** The body of an OPEN for SERVICE that makes the piece at least SIZE bytes long. */
export function openBody(service: string, size: number): Buffer {
  const body = Buffer.alloc(Math.max(size - HEADER, 1 + service.length))
  body[0] = body.write(service, 1, 'latin1')
  return body
}

/** The service an OPEN asks for; undefined when it names none. */
export function serviceOf(body: Buffer): string | undefined {
  const length = body[0] ?? 0
  if (length < 1 || length > MAX_SERVICE || 1 + length > body.length) return undefined
  const name = body.toString('latin1', 1, 1 + length)
  return /^[a-z0-9-]+$/.test(name) ? name : undefined
}
