import { sha256 } from '#codec'
import { synthesise } from '../disk/erofs.ts'
import { hashTree, treeChunks } from '../disk/hash-tree.ts'
import { BLOCK, type ChunkId, type DiskFacts, type Manifest } from '../types.ts'

/**
 * What dm-verity covers and its root, from the leaf hashes of the chunks (LEAVES_OF): no data is read again.
 * PUT keeps a chunk of the verity tree, which is content like any other.
 */
export async function diskFacts(
  tree: Pick<Manifest, 'entries' | 'packs'>,
  leavesOf: (id: ChunkId) => Buffer,
  put: (bytes: Buffer) => Promise<ChunkId>,
): Promise<DiskFacts> {
  const made = synthesise(tree)
  const { tree: bytes, root } = hashTree(
    made,
    made.extents.map(({ id }) => leavesOf(id)),
  )
  const ids = treeChunks(made).map(({ block, blocks }) =>
    put(Buffer.from(new Uint8Array(bytes.subarray(block * BLOCK, (block + blocks) * BLOCK)).buffer)),
  )
  return {
    metadataDigest: sha256(made.metadata),
    metadataBlocks: made.metadataBlocks,
    dataBlocks: made.dataBlocks,
    treeBlocks: bytes.length / BLOCK,
    root,
    tree: await Promise.all(ids),
  }
}
