import { sha256, ZosError } from '#codec'
import { BLOCK, type Manifest } from '../types.ts'
import { type ChunkCache, keyOf } from './chunk-cache.ts'
import type { Extent } from './data-plan.ts'
import { resynthesise } from './erofs.ts'
import { extentAt, firstBlocks } from './extent-index.ts'
import { treeChunks } from './hash-tree.ts'

/** Bytes, or that many zero bytes. */
export type Piece = Buffer | number

/** One reader's place in a disk: sequential readers are read ahead for, and what they touch first can be noted. */
export type Reader = { last: number; streak: number; touched?: ((extent: number) => void) | undefined }

export type Disk = {
  /** Metadata, data and verity tree; everything after them is zero. */
  blocks: number
  extents: readonly Extent[]
  /** Pieces that make up LENGTH bytes at OFFSET; at once when all is in memory. May lie beyond the end: zeros. */
  read(
    offset: number,
    length: number,
    options: { reader: Reader; signal?: AbortSignal | undefined },
  ): Piece[] | Promise<Piece[]>
  /** Runs of data and of zeros over LENGTH bytes at OFFSET. */
  runs(offset: number, length: number): { length: number; zero: boolean }[]
  /** Loads what is not in memory yet, without waiting; failures are left to whoever reads it. */
  warm(extent: number): void
}

export const newReader = (): Reader => ({ last: -2, streak: 0 })

/** Sequential reads in a row before the next chunks are asked for, and how many: 1 MiB of 128 KiB chunks. */
const STREAK = 2
const AHEAD = 8
const WARM_MS = 60_000

/**
 * The disk of a manifest: its EROFS metadata synthesised and held against `metadataDigest`, data and verity tree
 * from the chunks of CACHE. Throws `disk-mismatch` when this synthesiser does not make the published disk.
 */
export function openDisk(manifest: Manifest, cache: ChunkCache): Disk {
  const { disk } = manifest
  const made = resynthesise(manifest)
  const { metadata, metadataBlocks, dataBlocks } = made
  const digest = sha256(metadata)
  const chunks = treeChunks(made)
  const blocks = chunks.reduce((sum, chunk) => sum + chunk.blocks, dataBlocks)
  if (
    !digest.equals(disk.metadataDigest) ||
    metadataBlocks !== disk.metadataBlocks ||
    dataBlocks !== disk.dataBlocks ||
    blocks !== disk.dataBlocks + disk.treeBlocks ||
    chunks.length !== disk.tree.length
  ) {
    throw new ZosError(
      `Open disk: metadata is ${digest.toString('hex').slice(0, 12)}… in ${metadataBlocks} blocks, published as ` +
        `${disk.metadataDigest.toString('hex').slice(0, 12)}… in ${disk.metadataBlocks}; publish it again with this version`,
      { code: 'disk-mismatch', kind: 'node' },
    )
  }
  const extents = made.extents.concat(
    chunks.map(({ block, blocks }, n) => ({ block: dataBlocks + block, blocks, id: disk.tree[n]! })),
  )
  return diskOf(metadata, blocks, extents, cache)
}

/** A disk of METADATA bytes, then EXTENTS with zeros between them. */
export function diskOf(metadata: Buffer, blocks: number, extents: readonly Extent[], cache: ChunkCache): Disk {
  const firsts = firstBlocks(extents)
  const keys = extents.map((e) => keyOf(e.id))

  const warm = (n: number) => {
    // a guess: with the source away it is given up, so that nothing waits for what nobody reads
    if (!cache.peek(keys[n]!))
      cache.load(extents[n]!.id, keys[n]!, { signal: AbortSignal.timeout(WARM_MS) }).catch(() => {})
  }

  const cut = (n: number, plain: Buffer, at: number, part: number): Buffer => {
    if (plain.length === extents[n]!.blocks * BLOCK) return plain.subarray(at, at + part)
    // the id fixes the length, so the manifest is at fault; never send fewer bytes than were asked for
    throw new ZosError(
      `Read chunk "${extents[n]!.id.toString('hex').slice(0, 12)}…": ${plain.length} bytes, the manifest says ` +
        `${extents[n]!.blocks * BLOCK}; publish it again`,
      { code: 'chunk-corrupt', kind: 'node', details: { extent: n } },
    )
  }

  const follow = (reader: Reader, first: number, last: number) => {
    if (first === reader.last || first === reader.last + 1) reader.streak++
    else reader.streak = 0
    if (last > reader.last && reader.streak >= STREAK) {
      for (let n = last + 1; n <= last + AHEAD && n < extents.length; n++) warm(n)
    }
    reader.last = last
  }

  /** Calls VISIT for each run: metadata (extent -1), a part of an extent, or zeros (extent -2). */
  const walk = (offset: number, length: number, visit: (extent: number, at: number, length: number) => void) => {
    const end = offset + length
    let at = offset
    if (at < metadata.length) {
      const part = Math.min(end, metadata.length) - at
      visit(-1, at, part)
      at += part
    }
    if (at >= end) return
    for (let n = extentAt(firsts, Math.floor(at / BLOCK)); at < end; ) {
      const extent = extents[n]
      const from = extent ? extent.block * BLOCK : -1
      const to = extent ? from + extent.blocks * BLOCK : -1
      if (extent && at >= from && at < to) {
        const part = Math.min(end, to) - at
        visit(n, at - from, part)
        at += part
      }
      if (at >= end) break
      const next = n + 1 < extents.length ? extents[n + 1]!.block * BLOCK : end
      if (next > at) {
        const part = Math.min(end, next) - at
        visit(-2, at, part)
        at += part
      }
      n++
    }
  }

  return {
    blocks,
    extents,
    warm,
    read(offset, length, { reader, signal }) {
      const pieces: Piece[] = []
      let missing: Promise<void>[] | undefined
      let first = -1
      let last = -1
      walk(offset, length, (n, at, part) => {
        if (n === -2) return void pieces.push(part)
        if (n === -1) return void pieces.push(metadata.subarray(at, at + part))
        if (first < 0) first = n
        last = n
        reader.touched?.(n)
        const plain = cache.peek(keys[n]!)
        if (plain) return void pieces.push(cut(n, plain, at, part))
        const slot = pieces.push(part) - 1
        missing ??= []
        missing.push(
          cache.load(extents[n]!.id, keys[n]!, { signal }).then((loaded) => {
            pieces[slot] = cut(n, loaded, at, part)
          }),
        )
      })
      if (first >= 0) follow(reader, first, last)
      return missing ? Promise.all(missing).then(() => pieces) : pieces
    },
    runs(offset, length) {
      const runs: { length: number; zero: boolean }[] = []
      walk(offset, length, (n, _at, part) => {
        const zero = n === -2
        const before = runs.at(-1)
        if (before?.zero === zero) before.length += part
        else runs.push({ length: part, zero })
      })
      return runs
    },
  }
}
