// Whole puts into a folder, in a worker thread: read, hash, claim or compress, write.
import { closeSync, openSync, readSync } from 'node:fs'
import { reasonOf, ZosError } from '#codec'
import { chunkIdOf, isZero, LEAF_BLOCK, leafHashes, zeroLeaf } from './chunk.ts'
import { claimSync, type Place, writeSync } from './dir_sync.ts'
import { CHUNK_LIMIT, seal } from './stored.ts'

/** One chunk's bytes; KNOWN: its leaf hashes, where the caller has computed them already. */
export type Bytes = { bytes: Buffer; known?: Buffer | undefined }
/** LENGTH bytes from AT on of the file PATH, cut into chunks of CHUNKSIZE. */
export type FilePart = { path: Uint8Array; at: number; length: number; chunkSize: number }

/**
 * The chunks of some contents, in order: STORED has for each content the bytes that each chunk took, 0 when it was
 * there, undefined for one that is all zero and not kept (its id is zeros). IDS and LEAVES are those of all, joined.
 * RECENT: to be flushed before they may be named.
 */
export type Kept = { ids: Buffer; leaves: Buffer; stored: (number | undefined)[][]; recent: boolean }

export const leafBytes = (bytes: number): number => Math.ceil(bytes / LEAF_BLOCK) * 32

/** Bytes of CONTENT and how many chunks they are. */
export const sizeOf = (content: Bytes | FilePart): { length: number; chunks: number } =>
  'bytes' in content
    ? { length: content.bytes.length, chunks: 1 }
    : { length: content.length, chunks: Math.ceil(content.length / content.chunkSize) }

export function keepAll(contents: readonly (Bytes | FilePart)[], place: Place): Kept {
  const sizes = contents.map(sizeOf)
  const ids = Buffer.alloc(32 * sizes.reduce((sum, { chunks }) => sum + chunks, 0))
  const leaves = Buffer.allocUnsafeSlow(sizes.reduce((sum, { length }) => sum + leafBytes(length), 0))
  const kept: Kept = { ids, leaves, stored: [], recent: false }
  const at = { id: 0, leaf: 0 }
  /** Keeps the next chunk; without BYTES it is LENGTH zeros. */
  const next = (length: number, bytes?: Buffer, known?: Buffer) => {
    const hashes = bytes ? (known ?? leafHashes(bytes)) : undefined
    const one = bytes && keepChunk(bytes, hashes!, place)
    if (hashes) leaves.set(hashes, at.leaf)
    else leaves.fill(zeroLeaf, at.leaf, at.leaf + leafBytes(length))
    if (one) ids.set(one.id, at.id)
    kept.stored.at(-1)!.push(one?.storedBytes)
    kept.recent ||= one?.recent ?? false
    at.id += 32
    at.leaf += leafBytes(length)
  }
  for (const content of contents) {
    kept.stored.push([])
    if ('bytes' in content)
      next(content.bytes.length, asBuffer(content.bytes), content.known && asBuffer(content.known))
    else for (const bytes of chunksOf(content)) next(bytes.length, isZero(bytes) ? undefined : bytes)
  }
  return kept
}

function keepChunk(bytes: Buffer, leaves: Buffer, place: Place) {
  const id = chunkIdOf(leaves)
  const hex = id.toString('hex')
  const claimed = claimSync(place, hex)
  if (claimed !== 'absent') return { id, storedBytes: 0, recent: claimed === 'recent' }
  const stored = seal('chunk', bytes)
  writeSync(place, hex, stored)
  return { id, storedBytes: stored.length, recent: true }
}

const scratch = Buffer.allocUnsafeSlow(CHUNK_LIMIT)

/** The chunks of a part of a file, each good until the next is asked for. */
function* chunksOf({ path, at, length, chunkSize }: FilePart): Generator<Buffer> {
  const file = readable(path, () => openSync(Buffer.from(path), 'r'))
  try {
    for (let done = 0; done < length; done += chunkSize) {
      const bytes = scratch.subarray(0, Math.min(chunkSize, length - done))
      readable(path, () => readWhole(file, bytes, at + done))
      yield bytes
    }
  } finally {
    closeSync(file)
  }
}

/** Fills BYTES from FILE at AT. */
function readWhole(file: number, bytes: Buffer, at: number): void {
  for (let got = 0; got < bytes.length; ) {
    const count = readSync(file, bytes, got, bytes.length - got, at + got)
    if (count === 0) throw new Error(`it ends after ${at + got} bytes`)
    got += count
  }
}

/** What is wrong with a file being read, which is no matter of the store's. */
export const sourceUnreadable = (path: Uint8Array, cause: unknown): ZosError =>
  new ZosError(`Read "${Buffer.from(path)}": ${reasonOf(cause)}; did it change meanwhile?`, {
    code: 'source-unreadable',
    cause,
  })

function readable<T>(path: Uint8Array, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw sourceUnreadable(path, error)
  }
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
