import { ZosError } from '#codec'
import { BLOCK, CHUNK, type ChunkId, type Content, type Manifest, PACKED } from '../types.ts'
import { pathOf } from './path.ts'

/** A chunk or pack on the disk. Sorted by block; holes have none. */
export type Extent = { block: number; blocks: number; id: ChunkId }

/** A hole in a block map (EROFS_NULL_ADDR). */
export const HOLE = 0xffffffff
/** Block numbers are 32 bits; the last one means a hole: 16 TiB. */
const BLOCK_LIMIT = 0xffffffff

/** Chunks, of 2^chunkBits blocks each, that a file's block map has; 0 for an empty file. */
export function mapOf(size: number, content: Content): { chunkBits: number; entries: number } {
  if (content.kind === 'empty') return { chunkBits: 0, entries: 0 }
  if (content.kind === 'packed') return { chunkBits: Math.log2(PACKED / BLOCK), entries: 1 }
  return { chunkBits: Math.log2(content.chunkSize / BLOCK), entries: Math.ceil(size / content.chunkSize) }
}

/** Blocks whose hashes fill one block of the dm-verity tree. */
export const HASHED = BLOCK / 32

/**
 * A segment is a run of chunks whose hashes are one chunk of the dm-verity tree, so that images in which the same chunks
 * follow each other share those hashes too. It ends behind a chunk whose id says so, one in 16, when it has this many
 * blocks, and before it would have more than fit in a chunk of the tree.
 */
const SEGMENT_LEAST = 2 * HASHED
const SEGMENT_MOST = CHUNK / 32
const endsSegment = (id: ChunkId): boolean => (id[31]! & 15) === 0

export type DataPlan = {
  extents: Extent[]
  /** First block of each segment: a multiple of HASHED, so that each begins a block of hashes. */
  segments: number[]
  /** One past the last block: a multiple of HASHED. */
  end: number
  /** First block of each pack. */
  packAt: Float64Array
}

const wholeHashes = (block: number): number => Math.ceil(block / HASHED) * HASHED

/**
 * Gives each chunk its blocks behind block START, in the order of the entries; a pack where its first member is. Between
 * segments, and before the first, are zeros.
 * Throws `bad-tree` when chunk lists and sizes contradict each other.
 */
export function planData(tree: Pick<Manifest, 'entries' | 'packs'>, start: number): DataPlan {
  const extents: Extent[] = []
  const packAt = new Float64Array(tree.packs.length).fill(-1)
  const segments: number[] = []
  let block = wholeHashes(start)
  /** Where the chunks of the open segment began; undefined between two. */
  let from: number | undefined
  const endSegment = () => {
    block = wholeHashes(block)
    from = undefined
  }
  const place = (id: ChunkId, blocks: number) => {
    if (from !== undefined && block + blocks - from > SEGMENT_MOST) endSegment()
    if (from === undefined) {
      from = block
      segments.push(block)
    }
    extents.push({ block, blocks, id })
    block += blocks
    if (block - from >= SEGMENT_LEAST && endsSegment(id)) endSegment()
  }
  tree.entries.forEach((entry, n) => {
    if (entry.type !== 'file') return
    const { content, size } = entry
    const refuse = (why: string): never => {
      throw new ZosError(`Lay out "${pathOf(tree.entries, n)}": ${why}; publish it again`, { code: 'bad-tree' })
    }
    if (content.kind === 'empty') {
      if (size !== 0) refuse(`${size} bytes without content`)
    } else if (content.kind === 'packed') {
      const pack = tree.packs[content.pack] ?? refuse(`pack ${content.pack} does not exist`)
      const blocks = Math.ceil(size / BLOCK)
      if (size === 0 || size > PACKED || content.block + blocks > pack.blocks) refuse('does not fit in its pack')
      if (packAt[content.pack]! < 0) {
        packAt[content.pack] = block
        place(pack.id, pack.blocks)
      }
    } else {
      const { chunks, chunkSize } = content
      if (chunks.length !== Math.ceil(size / chunkSize)) refuse(`${chunks.length} chunks for ${size} bytes`)
      chunks.forEach((id, k) => {
        if (id) place(id, Math.ceil(Math.min(chunkSize, size - k * chunkSize) / BLOCK))
      })
    }
  })
  endSegment()
  if (block >= BLOCK_LIMIT) {
    throw new ZosError(`Lay out disk: ${block} blocks, EROFS has room for ${BLOCK_LIMIT}; publish less in one image`, {
      code: 'tree-too-large',
    })
  }
  return { extents, segments, end: block, packAt }
}
