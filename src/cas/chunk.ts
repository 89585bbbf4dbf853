import { sha256, sha256Hex } from '#codec'

/** Bytes hashed into one leaf: a dm-verity and fs-verity block, so that one pass gives every fingerprint. */
export const LEAF_BLOCK = 4096

/** SHA-256 over the 4 KiB leaf hashes of the chunk's zero-padded plaintext: 32 bytes. */
export type ChunkId = Buffer

const zeroBlock = Buffer.alloc(LEAF_BLOCK)
/** The leaf hash of 4 KiB of zeros: what every block of a hole has. */
export const zeroLeaf: Buffer = sha256(zeroBlock)

/** SHA-256 of each 4 KiB block of BYTES, the last one zero-padded: 32 bytes per block, joined. */
export function leafHashes(bytes: Uint8Array): Buffer {
  const blocks = Math.ceil(bytes.length / LEAF_BLOCK)
  const leaves = Buffer.allocUnsafeSlow(blocks * 32) // own memory: a message to another thread takes all of a shared pool along
  for (let n = 0; n < blocks; n++) {
    const block = bytes.subarray(n * LEAF_BLOCK, (n + 1) * LEAF_BLOCK)
    // as text: a buffer for each block would cost a fifth of the hashing
    const hash = block.length === LEAF_BLOCK ? sha256Hex(block) : sha256Hex(block, zeroBlock.subarray(block.length))
    leaves.write(hash, n * 32, 'hex')
  }
  return leaves
}

/** The id of the chunk whose blocks have these leaf hashes. */
export function chunkIdOf(leaves: Uint8Array): ChunkId {
  return sha256(leaves)
}

/** BYTES zero-padded to whole blocks; the same buffer when it already is. */
export function wholeBlocks(bytes: Buffer): Buffer {
  const rest = bytes.length % LEAF_BLOCK
  return rest === 0 ? bytes : Buffer.concat([bytes, zeroBlock.subarray(rest)])
}

/** True when every byte is zero: such chunks are holes and are not stored. */
export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += LEAF_BLOCK) {
    const block = bytes.subarray(at, at + LEAF_BLOCK)
    if (block[0] !== 0 || zeroBlock.compare(block, 0, block.length, 0, block.length) !== 0) return false
  }
  return true
}
