import { ACK, CHECKSUM, FLAGS, HEADER, type Piece, REPLY } from './wire.ts'

// What other nodes sent is taken apart where no ffi is: on the packet thread, which alone loads this file.

/** Undefined for what is no piece: cut short, of no known kind, or with a number beyond what can be counted here. */
export function decodePiece(bytes: Buffer): Piece | undefined {
  if (bytes.length < HEADER) return undefined
  const flags = bytes.readUInt16BE(8)
  const base = { id: bytes.toString('hex', 0, 8), ack: (flags & ACK) !== 0 }
  const body = bytes.subarray(HEADER)
  const number = (at: number) => Number(body.readBigUInt64BE(at))
  // upstream looks at the flags in this order too
  if (flags & FLAGS.init) {
    // upstream acknowledges without the topic
    if (body.length < 9 || (!base.ack && body.length < 9 + body[8]!)) return undefined
    const length = number(0)
    const topic = body.subarray(9, 9 + body[8]!)
    return Number.isSafeInteger(length)
      ? { ...base, kind: 'init', reply: (flags & REPLY) !== 0, length, topic }
      : undefined
  }
  if (flags & FLAGS.chunk) {
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
  if (flags & FLAGS.done) {
    if (body.length < 8 + CHECKSUM) return undefined
    const chunks = number(0)
    return Number.isSafeInteger(chunks)
      ? { ...base, kind: 'done', chunks, checksum: body.subarray(8, 8 + CHECKSUM) }
      : undefined
  }
  if (flags & FLAGS.read) return { ...base, kind: 'read' }
  return flags & FLAGS.aborted ? { ...base, kind: 'aborted' } : undefined
}
