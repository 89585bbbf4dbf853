/**
 * Pieces of messages, payloads of sealed bodies of type 1 (docs/formats/mycelium.md), everything big-endian:
 *   id[8] | flags u16 | 0 0 | what the flags say. An acknowledgement is the same piece with ACK, a chunk's without its data.
 */
const HEADER = 12
const INIT = 0x8000
const DONE = 0x4000
const ABORTED = 0x2000
const CHUNK = 0x1000
const READ = 0x0800
const REPLY = 0x0400
const ACK = 0x0100
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

const FLAGS = { init: INIT, chunk: CHUNK, done: DONE, read: READ, aborted: ABORTED } as const

function bodyOf(piece: Piece): Buffer {
  if (piece.kind === 'init') {
    const body = Buffer.alloc(9 + piece.topic.length)
    body.writeBigUInt64BE(BigInt(piece.length))
    body[8] = piece.topic.length
    piece.topic.copy(body, 9)
    return body
  }
  if (piece.kind === 'chunk') {
    const body = Buffer.alloc(24 + piece.data.length)
    body.writeBigUInt64BE(BigInt(piece.index))
    body.writeBigUInt64BE(BigInt(piece.offset), 8)
    body.writeBigUInt64BE(BigInt(piece.data.length), 16)
    piece.data.copy(body, 24)
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

/** Undefined for what is no piece: cut short, of no known kind, or with a number beyond what can be counted here. */
export function decodePiece(bytes: Buffer): Piece | undefined {
  if (bytes.length < HEADER) return undefined
  const flags = bytes.readUInt16BE(8)
  const base = { id: bytes.toString('hex', 0, 8), ack: (flags & ACK) !== 0 }
  const body = bytes.subarray(HEADER)
  const number = (at: number) => Number(body.readBigUInt64BE(at))
  // upstream looks at the flags in this order too
  if (flags & INIT) {
    // upstream acknowledges without the topic
    if (body.length < 9 || (!base.ack && body.length < 9 + body[8]!)) return undefined
    const length = number(0)
    const topic = body.subarray(9, 9 + body[8]!)
    return Number.isSafeInteger(length)
      ? { ...base, kind: 'init', reply: (flags & REPLY) !== 0, length, topic }
      : undefined
  }
  if (flags & CHUNK) {
    if (body.length < 24) return undefined
    const [index, offset, size] = [number(0), number(8), number(16)]
    // upstream acknowledges a chunk by its numbers, without the data
    if (!Number.isSafeInteger(index) || !Number.isSafeInteger(offset + size)) return undefined
    if (!base.ack && size > body.length - 24) return undefined
    return {
      ...base,
      kind: 'chunk',
      index,
      offset,
      data: base.ack ? body.subarray(24, 24) : body.subarray(24, 24 + size),
    }
  }
  if (flags & DONE) {
    if (body.length < 8 + CHECKSUM) return undefined
    const chunks = number(0)
    return Number.isSafeInteger(chunks)
      ? { ...base, kind: 'done', chunks, checksum: body.subarray(8, 8 + CHECKSUM) }
      : undefined
  }
  if (flags & READ) return { ...base, kind: 'read' }
  return flags & ABORTED ? { ...base, kind: 'aborted' } : undefined
}

/** What is said back to PIECE. Size of a chunk's data is said in its numbers: the receiver of an old daemon wants it. */
export function acknowledgement(bytes: Buffer): Buffer {
  const chunk = (bytes.readUInt16BE(8) & (INIT | CHUNK)) === CHUNK
  const answer = Buffer.from(bytes.subarray(0, chunk ? HEADER + 24 : bytes.length))
  answer.writeUInt16BE(answer.readUInt16BE(8) | ACK, 8)
  return answer
}
