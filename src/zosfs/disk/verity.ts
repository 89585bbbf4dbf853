import { leafHashes } from '#cas'
import { sha256 } from '#codec'
import { BLOCK } from '../types.ts'

/** Bytes of a SHA-256 digest; a hash block holds 128 of them. */
const DIGEST = 32

/** Levels above LEAVES up to the one of a single block, each zero-padded to whole blocks, and the hash of the last. */
function levelsOf(leaves: Buffer): { levels: Buffer[]; root: Buffer } {
  const levels: Buffer[] = []
  let digests = leaves
  while (digests.length > DIGEST) {
    const level = Buffer.alloc(Math.ceil(digests.length / BLOCK) * BLOCK)
    digests.copy(level)
    levels.push(level)
    digests = leafHashes(level)
  }
  return { levels, root: digests }
}

/**
 * The dm-verity tree (format 1, SHA-256, no salt, 4096-byte data and hash blocks) over blocks whose hashes, joined,
 * are LEAVES: levels stored root first (Documentation/admin-guide/device-mapper/verity.rst). One block has no tree.
 */
export function verityTree(leaves: Buffer): { tree: Buffer; root: Buffer } {
  const { levels, root } = levelsOf(leaves)
  return { tree: Buffer.concat(levels.reverse()), root }
}

/**
 * The fs-verity digest of a file of SIZE bytes from the hashes of its zero-padded 4 KiB blocks: SHA-256 of struct
 * fsverity_descriptor (include/uapi/linux/fsverity.h). Shared with dm-verity: leaves and tree are the same bytes.
 */
export function fsVerityDigest(leaves: Buffer, size: number): Buffer {
  const descriptor = Buffer.alloc(256)
  descriptor[0] = 1 // version
  descriptor[1] = 1 // FS_VERITY_HASH_ALG_SHA256
  descriptor[2] = Math.log2(BLOCK)
  descriptor.writeBigUInt64LE(BigInt(size), 8)
  if (size > 0) descriptor.set(levelsOf(leaves).root, 16) // an empty file's root is all zero
  return sha256(descriptor)
}
