import { leafHashes } from '#cas'
import { sha256 } from '#codec'
import { synthesise } from '../disk/erofs.ts'
import { verityTree } from '../disk/verity.ts'
import { BLOCK, CHUNK, type ChunkId, type DiskFacts, type Manifest } from '../types.ts'

/**
 * What dm-verity covers and its root, from the leaf hashes of the chunks (LEAVES_OF): no data is read again.
 * PUT keeps a chunk of the verity tree, which is content like any other.
 */
export async function diskFacts(
  tree: Pick<Manifest, 'entries' | 'packs'>,
  leavesOf: (id: ChunkId) => Buffer,
  put: (bytes: Buffer) => Promise<ChunkId>,
): Promise<DiskFacts> {
  const { metadata, metadataBlocks, dataBlocks, extents } = synthesise(tree)
  const leaves = Buffer.concat([leafHashes(metadata), ...extents.map(({ id }) => leavesOf(id))])
  const { tree: bytes, root } = verityTree(leaves)
  const ids: Promise<ChunkId>[] = []
  for (let at = 0; at < bytes.length; at += CHUNK)
    ids.push(put(Buffer.from(new Uint8Array(bytes.subarray(at, at + CHUNK)).buffer)))
  return {
    metadataDigest: sha256(metadata),
    metadataBlocks,
    dataBlocks,
    treeBlocks: bytes.length / BLOCK,
    root,
    tree: await Promise.all(ids),
  }
}
