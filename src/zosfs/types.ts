/** Bytes per block of the disk, per dm-verity leaf and per fs-verity leaf. */
export const BLOCK = 4096
/** Bytes per chunk of a file, and of one above LARGE_FILE. */
export const CHUNK = 128 << 10
export const LARGE_CHUNK = 512 << 10
export const LARGE_FILE = 64 << 20
/** Files of at most this many bytes share a pack with their neighbours in the same directory. */
export const PACKED = 16 << 10
/** A pack holds at most this many bytes, each member starting on a block. */
export const PACK = 128 << 10

/** SHA-256 over the 4 KiB leaf hashes of the chunk's zero-padded plaintext: 32 bytes. */
export type ChunkId = Buffer

/** Where a regular file's bytes are. A chunk of `chunks` that is all zero is a hole: undefined. */
export type Content =
  | { kind: 'empty' }
  | { kind: 'chunks'; chunkSize: typeof CHUNK | typeof LARGE_CHUNK; chunks: (ChunkId | undefined)[] }
  /** The file starts at BLOCK `block` of pack number `pack` of the manifest. */
  | { kind: 'packed'; pack: number; block: number }

export type Xattr = { name: Buffer; value: Buffer }

export type EntryBase = {
  /** Index of the parent in `Manifest.entries`; the root (index 0) is its own parent. */
  parent: number
  /** The last component as bytes; empty for the root. */
  name: Buffer
  /** st_mode: type and permission bits. */
  mode: number
  uid: number
  gid: number
  mtime: { seconds: bigint; nanoseconds: number }
  /** Sorted by name; full names such as `security.capability`. */
  xattrs: Xattr[]
}

export type Entry = EntryBase &
  (
    | { type: 'directory' }
    | {
        type: 'file'
        size: number
        /** fs-verity digest: SHA-256 of the descriptor. Undefined when the manifest was loaded without fingerprints. */
        fingerprint: Buffer | undefined
        content: Content
      }
    | { type: 'symlink'; target: Buffer }
    | { type: 'character' | 'block'; major: number; minor: number }
    | { type: 'fifo' | 'socket' }
    /** Another name of the regular file (or device, symlink) at entry `link`, which comes earlier. Its own metadata equals that one's. */
    | { type: 'hardlink'; link: number }
  )

/** How the synthesised disk is made up: EROFS metadata, then data, then the dm-verity tree, in blocks. */
export type DiskFacts = {
  /** SHA-256 of the EROFS metadata region (superblock, inodes, directories). */
  metadataDigest: Buffer
  metadataBlocks: number
  /** Metadata plus data: what dm-verity covers; the hash tree starts at this block. */
  dataBlocks: number
  treeBlocks: number
  /** dm-verity root hash, SHA-256, no salt. */
  root: Buffer
  /** The tree's bytes as chunks: `treeChunks` of disk/hash-tree.ts says which. */
  tree: ChunkId[]
}

/** One layer of the image this came from, as its registry described it. */
export type Layer = { mediaType: string; digest: string; size: number; diffId: string }

/** A file tree with its fingerprints: the decoded form of a `zfl/1` manifest (docs/formats/zfl.md). */
export type Manifest = {
  /**
   * Version of the EROFS synthesiser that made `disk`: same manifest and version, same bytes. Of version 1, whose hashes were cut
   * into chunks elsewhere, the files can be read but no disk made.
   */
  synthesiser: 1 | 2
  /** Canonical order: parents before children, depth first, names of one directory in byte order. */
  entries: Entry[]
  packs: { id: ChunkId; blocks: number }[]
  /** The OCI image config as JSON text, byte for byte; `{}` when the source had none. */
  config: Buffer
  layers: Layer[]
  disk: DiskFacts
  /** Entries that must be whole before the configured process starts: entry file, interpreters, libraries. */
  startClosure: number[]
}
