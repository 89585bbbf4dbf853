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

export type Piece = {
  kind: number
  opener: boolean
  window: number
  stream: number
  number: number
  body: Buffer
}

/** A piece of another node; TEXT is the service an OPEN asks for (empty when it names none), or the reason of a RESET. */
export type Heard = Piece & { text: string }

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

/** The body of an OPEN for SERVICE that makes the piece at least SIZE bytes long. */
export function openBody(service: string, size: number): Buffer {
  const body = Buffer.alloc(Math.max(size - HEADER, 1 + service.length))
  body[0] = body.write(service, 1, 'latin1')
  return body
}
