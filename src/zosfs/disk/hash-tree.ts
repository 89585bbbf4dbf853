import { leafHashes, zeroLeaf } from '#cas'
import { BLOCK, CHUNK } from '../types.ts'
import { HASHED } from './data-plan.ts'
import type { Synthesised } from './erofs.ts'
import { verityTree } from './verity.ts'

/** The blocks of each chunk that the tree is kept in, in the order of the tree. */
function chunkBlocks({ dataBlocks, segments }: Pick<Synthesised, 'dataBlocks' | 'segments'>): number[] {
  const leafLevel = dataBlocks / HASHED
  let head = (segments[0] ?? dataBlocks) / HASHED
  for (let level = leafLevel; level > 1; ) {
    level = Math.ceil(level / HASHED)
    head += level
  }
  const most = CHUNK / BLOCK
  const heads = Array.from({ length: Math.ceil(head / most) }, (_, n) => Math.min(most, head - n * most))
  return [...heads, ...segments.map((first, n) => ((segments[n + 1] ?? dataBlocks) - first) / HASHED)]
}

/**
 * Where the chunks of the dm-verity tree are, counted in blocks from where it begins: the levels above the leaves and the hashes
 * of the metadata in chunks of 128 KiB, then one chunk for each segment.
 */
export function treeChunks(made: Pick<Synthesised, 'dataBlocks' | 'segments'>): { block: number; blocks: number }[] {
  let end = 0
  return chunkBlocks(made).map((blocks) => {
    end += blocks
    return { block: end - blocks, blocks }
  })
}

/** The dm-verity tree and root of a disk from the leaf hashes of each of its extents, in their order: no data is read. */
export function hashTree(made: Synthesised, extentLeaves: readonly Buffer[]): { tree: Buffer; root: Buffer } {
  const leaves = Buffer.alloc(made.dataBlocks * zeroLeaf.length, zeroLeaf)
  leafHashes(made.metadata).copy(leaves)
  made.extents.forEach(({ block }, n) => {
    leaves.set(extentLeaves[n]!, block * zeroLeaf.length)
  })
  return verityTree(leaves)
}
