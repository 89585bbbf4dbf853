// Constants that the encoder and the decoder of a manifest share: docs/formats/zfl.md.
import { CHUNK, LARGE_CHUNK, LARGE_FILE } from '../types.ts'

export const MAGIC: Buffer = Buffer.from('zfl/1\n')

/** Order is the number in the file. */
export const TYPES = ['directory', 'file', 'symlink', 'character', 'block', 'fifo', 'socket', 'hardlink'] as const

/** st_mode's type bits (include/uapi/linux/stat.h); a hard link has its target's. */
export const TYPE_BITS = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  character: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
} as const

/** How many of each a manifest may have: what a decoder may be made to allocate. */
export const LIMITS = {
  entries: 1 << 22,
  depth: 2048,
  chunks: 1 << 24,
  /** 16 TiB: what EROFS addresses. */
  size: 2 ** 44,
  name: 255,
  target: 4095,
  xattrName: 255,
  xattrValue: 65535,
  xattrs: 65535,
  major: 0xfff,
  minor: 0xfffff,
  id: 0xffffffff,
  /** Seconds from 1970, either way. */
  seconds: 2n ** 50n,
  config: 16 << 20,
  layers: 10_000,
  text: 4096,
} as const

/** Bytes per chunk of a file of SIZE bytes. */
export const chunkSizeOf = (size: number): typeof CHUNK | typeof LARGE_CHUNK =>
  size > LARGE_FILE ? LARGE_CHUNK : CHUNK

/** References to chunks: 0 is a hole, 1 the next id not named before, 2 + n the n-th id again. */
export const HOLE = 0
export const NEXT = 1
export const AGAIN = 2
