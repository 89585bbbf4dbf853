export { type ChunkId, chunkIdOf, isZero, LEAF_BLOCK, leafHashes, wholeBlocks, zeroLeaf } from './chunk.ts'
