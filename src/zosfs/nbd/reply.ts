import type { Piece } from '../disk/disk.ts'
import { ALLOCATION_ID, REPLY, REPLY_DONE, SIMPLE_REPLY_MAGIC, STATE_ZERO, STRUCTURED_REPLY_MAGIC } from './protocol.ts'

export function simpleReply(cookie: bigint, error: number): Buffer {
  const out = Buffer.allocUnsafe(16)
  out.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0)
  out.writeUInt32BE(error, 4)
  out.writeBigUInt64BE(cookie, 8)
  return out
}

/** Head of a structured chunk with room for EXTRA bytes of its payload, of PAYLOAD bytes in all. */
function chunkHead(cookie: bigint, flags: number, type: number, payload: number, extra: number): Buffer {
  const out = Buffer.allocUnsafe(20 + extra)
  out.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0)
  out.writeUInt16BE(flags, 4)
  out.writeUInt16BE(type, 6)
  out.writeBigUInt64BE(cookie, 8)
  out.writeUInt32BE(payload, 16)
  return out
}

export const doneReply = (cookie: bigint): Buffer => chunkHead(cookie, REPLY_DONE, REPLY.NONE, 0, 0)

export function errorReply(cookie: bigint, error: number, message: string): Buffer {
  const text = Buffer.from(message).subarray(0, 1024)
  const out = chunkHead(cookie, REPLY_DONE, REPLY.ERROR, 6 + text.length, 6 + text.length)
  out.writeUInt32BE(error, 20)
  out.writeUInt16BE(text.length, 24)
  out.set(text, 26)
  return out
}

/** The pieces of a read in the simple form: zeros are sent as bytes. */
export function simpleData(cookie: bigint, pieces: readonly Piece[]): Buffer[] {
  const out = [simpleReply(cookie, 0)]
  for (const piece of pieces) out.push(typeof piece === 'number' ? Buffer.alloc(piece) : piece)
  return out
}

/** The pieces of a read from OFFSET: neighbouring bytes as one data chunk, zeros as holes. WHOLE: one chunk only (DF). */
export function structuredData(cookie: bigint, offset: number, pieces: readonly Piece[], whole: boolean): Buffer[] {
  const out: Buffer[] = []
  const asBytes = (piece: Piece) => whole || typeof piece !== 'number'
  let at = offset
  for (let n = 0; n < pieces.length; ) {
    const first = pieces[n]!
    let end = n
    let length = 0
    while (end < pieces.length && asBytes(pieces[end]!) === asBytes(first)) {
      const piece = pieces[end++]!
      length += typeof piece === 'number' ? piece : piece.length
    }
    const flags = end === pieces.length ? REPLY_DONE : 0
    if (asBytes(first)) {
      const head = chunkHead(cookie, flags, REPLY.OFFSET_DATA, 8 + length, 8)
      writeOffset(head, at)
      out.push(head)
      for (; n < end; n++) {
        const piece = pieces[n]!
        out.push(typeof piece === 'number' ? Buffer.alloc(piece) : piece)
      }
    } else {
      const hole = chunkHead(cookie, flags, REPLY.OFFSET_HOLE, 12, 12)
      writeOffset(hole, at)
      hole.writeUInt32BE(length, 28)
      out.push(hole)
      n = end
    }
    at += length
  }
  return out
}

const writeOffset = (head: Buffer, offset: number) => {
  head.writeUInt32BE(Math.floor(offset / 2 ** 32), 20)
  head.writeUInt32BE(offset >>> 0, 24)
}

export function statusReply(cookie: bigint, runs: readonly { length: number; zero: boolean }[]): Buffer {
  const payload = 4 + 8 * runs.length
  const out = chunkHead(cookie, REPLY_DONE, REPLY.BLOCK_STATUS, payload, payload)
  out.writeUInt32BE(ALLOCATION_ID, 20)
  runs.forEach(({ length, zero }, n) => {
    out.writeUInt32BE(length, 24 + 8 * n)
    out.writeUInt32BE(zero ? STATE_ZERO : 0, 28 + 8 * n)
  })
  return out
}
