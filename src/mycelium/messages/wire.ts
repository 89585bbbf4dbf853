/**
 * Pieces of messages, payloads of sealed bodies of type 1 (docs/formats/mycelium.md), everything big-endian:
 *   id[8] | flags u16 | 0 0 | what the flags say. An acknowledgement is the same piece with ACK, a chunk's without its data.
 */
export const HEADER = 12
export const FLAGS = { init: 0x8000, chunk: 0x1000, done: 0x4000, read: 0x0800, aborted: 0x2000 } as const
export const REPLY = 0x0400
export const ACK = 0x0100
export const CHECKSUM = 32
export const MAX_TOPIC = 255
/**
 * A message of many tiny chunks would cost its receiver more than its bytes. Upstream says that the last may be smaller,
 * but takes it only from messages of one chunk.
 */
export const SMALLEST_CHUNK = 250

export type Piece = { id: string; ack: boolean } & (
  | { kind: 'init'; reply: boolean; length: number; topic: Buffer }
  | { kind: 'chunk'; index: number; offset: number; data: Buffer }
  | { kind: 'done'; chunks: number; checksum: Buffer }
  | { kind: 'read' | 'aborted' }
)

function bodyOf(piece: Piece): Buffer {
  if (piece.kind === 'init') {
    const body = Buffer.alloc(9 + piece.topic.length)
    body.writeBigUInt64BE(BigInt(piece.length))
    body[8] = piece.topic.length
    piece.topic.copy(body, 9)
    return body
  }
  if (piece.kind === 'chunk') {
    const body = Buffer.alloc(24 + (piece.ack ? 0 : piece.data.length))
    body.writeBigUInt64BE(BigInt(piece.index))
    body.writeBigUInt64BE(BigInt(piece.offset), 8)
    body.writeBigUInt64BE(BigInt(piece.data.length), 16)
    if (!piece.ack) piece.data.copy(body, 24)
    return body
  }
  if (piece.kind === 'done') {
    const body = Buffer.alloc(8 + CHECKSUM)
    body.writeBigUInt64BE(BigInt(piece.chunks))
    piece.checksum.copy(body, 8)
    return body
  }
  return Buffer.alloc(0)
}

export function encodePiece(piece: Piece): Buffer {
  const header = Buffer.alloc(HEADER)
  header.write(piece.id, 'hex')
  const reply = piece.kind === 'init' && piece.reply ? REPLY : 0
  header.writeUInt16BE(FLAGS[piece.kind] | reply | (piece.ack ? ACK : 0), 8)
  return Buffer.concat([header, bodyOf(piece)])
}

/** What is said back to PIECE: a chunk without its data, whose size the receiver of an old daemon wants all the same. */
export const acknowledgement = (piece: Piece): Buffer => encodePiece({ ...piece, ack: true })
