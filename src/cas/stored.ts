import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { sha256 } from '#codec'
import { chunkIdOf, leafHashes, wholeBlocks } from './chunk.ts'

/** What an id covers: a chunk's leaf hashes, or (manifests) the plain bytes themselves. */
export type Kind = 'chunk' | 'blob'

/** Longest chunk (a large file's) and longest blob: what a decoder may be made to allocate. */
export const CHUNK_LIMIT = 512 << 10
export const BLOB_LIMIT = 256 << 20

/** The first byte of each stored object says how to check and read it, so that a hub can scrub itself. */
const PREFIX = { 'chunk raw': 1, 'chunk zstd': 2, 'blob raw': 3, 'blob zstd': 4 } as const
/** Set in the first byte of what is as small as it gets: nobody need try again. */
const SETTLED = 0x10

/**
 * How hard to compress. At publish, where CPU is what there is least of, chunks get level 3 with matches of 4 bytes, which in
 * programs are worth 1.2 % and cost nothing; the few blobs, which are read often, 12. At rest there is time for 19, which takes
 * 60 times as long (measured: docs/benchmarks.md).
 */
type Effort = 'publish' | 'rest'
const { ZSTD_c_compressionLevel: LEVEL, ZSTD_c_minMatch: SHORTEST_MATCH } = constants
const PARAMS = {
  publish: { chunk: { [LEVEL]: 3, [SHORTEST_MATCH]: 4 }, blob: { [LEVEL]: 12 } },
  rest: { chunk: { [LEVEL]: 19 }, blob: { [LEVEL]: 19 } },
}

/** The form PLAIN is kept in: prefix byte, then zstd, or raw where zstd does not save 5 %. */
export function seal(kind: Kind, plain: Buffer, effort: Effort = 'publish'): Buffer {
  const bytes = kind === 'chunk' ? wholeBlocks(plain) : plain
  const packed = zstdCompressSync(bytes, {
    // at least ZSTD_COMPRESSBOUND: with room for the worst case zstd writes straight to it, with no buffer in between
    chunkSize: bytes.length + (bytes.length >> 8) + 1024,
    params: PARAMS[effort][kind],
  })
  const small = packed.length < bytes.length * 0.95
  const stored = Buffer.allocUnsafeSlow(1 + (small ? packed : bytes).length)
  stored[0] = PREFIX[`${kind} ${small ? 'zstd' : 'raw'}`] | (effort === 'rest' ? SETTLED : 0)
  stored.set(small ? packed : bytes, 1)
  return stored
}

/** STORED as it is, marked as what cannot be made smaller. */
export function settle(stored: Buffer): Buffer {
  const marked = Buffer.from(stored)
  marked[0] = marked[0]! | SETTLED
  return marked
}

/** True for the first byte of an object that was compressed at rest already. */
export const isSettled = (first: number | undefined): boolean => ((first ?? 0) & SETTLED) !== 0

/** True for the first byte of a blob. */
export const isBlob = (first: number | undefined): boolean => [3, 4].includes((first ?? 0) & ~SETTLED)

export type Opened =
  | { ok: true; kind: Kind; plain: Buffer }
  /** FOUND: the id the bytes do have, or why they have none. */
  | { ok: false; found: string }

/** Reads a stored object and checks it against ID (64 hex digits); nothing unverified comes out. */
export function open(id: string, stored: Buffer): Opened {
  const first = stored[0]
  const prefix = first === undefined ? undefined : first & ~SETTLED
  const kind: Kind = prefix === 1 || prefix === 2 ? 'chunk' : 'blob'
  const limit = kind === 'chunk' ? CHUNK_LIMIT : BLOB_LIMIT
  let plain: Buffer
  if (prefix === 1 || prefix === 3) plain = stored.subarray(1)
  else if (prefix === 2 || prefix === 4) {
    try {
      plain = zstdDecompressSync(stored.subarray(1), {
        maxOutputLength: limit,
        // a little more than there is: a buffer filled to the end makes zlib allocate another
        chunkSize: kind === 'chunk' ? (128 << 10) + 64 : 1 << 20,
      })
    } catch {
      return { ok: false, found: `damaged zstd data, SHA-256 ${sha256(stored).toString('hex')}` }
    }
  } else return { ok: false, found: stored.length === 0 ? 'an empty file' : `unknown prefix byte ${first}` }
  if (plain.length > limit) return { ok: false, found: `${plain.length} bytes, more than a ${kind} has` }
  const found = (kind === 'chunk' ? chunkIdOf(leafHashes(plain)) : sha256(plain)).toString('hex')
  return found === id ? { ok: true, kind, plain } : { ok: false, found }
}
