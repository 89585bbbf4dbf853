import { sha256, ZosError } from '#codec'
import { BLOCK, type Entry, type Manifest } from '../types.ts'
import { crc32c } from './crc32c.ts'
import { type DataPlan, type Extent, HOLE, mapOf, planData } from './data-plan.ts'
import { packNames, writeNames } from './directory.ts'
import { INODE, type InodePlan, planInodes } from './inode-plan.ts'
import { writeXattrs, xattrCount } from './xattr.ts'

export type { Extent } from './data-plan.ts'

/** i_format: extended inode (bit 0), data layout from bit 1 (erofs_fs.h). */
const PLAIN = 1
const INLINE = 1 | (2 << 1)
const CHUNKED = 1 | (4 << 1)

const SUPERBLOCK = 1024
const MAGIC = 0xe0f5e1e2
const COMPAT_CHECKSUM_AND_MTIME = 3
const INCOMPAT_CHUNKED_FILE = 4

/** st_mode's type bits. */
const MODE_TYPES = {
  file: 0o100000,
  directory: 0o040000,
  character: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
  symlink: 0o120000,
} as const
const FILE_TYPES = { file: 1, directory: 2, character: 3, block: 4, fifo: 5, socket: 6, symlink: 7 } as const

export type Synthesised = {
  /** Superblock, inodes, directories: whole blocks. */
  metadata: Buffer
  metadataBlocks: number
  /** Metadata and data: what dm-verity covers. */
  dataBlocks: number
  /** What is in the blocks from metadataBlocks on; the others are zero. */
  extents: Extent[]
  /** First block of each segment: a run of extents whose hashes are one chunk of the dm-verity tree. */
  segments: number[]
}

/**
 * The EROFS image of a tree, without its data: a pure function of the tree, byte for byte the same everywhere.
 * Layout: superblock at byte 1024, inodes in the order of the entries (root first), directory blocks, then data.
 * Throws `bad-tree`, `tree-too-large`, `xattr-unsupported`.
 */
export function synthesise(tree: Pick<Manifest, 'entries' | 'packs'>): Synthesised {
  const { entries } = tree
  const plan = planInodes(entries)
  const data = planData(tree, plan.metadataBlocks)
  const out = Buffer.alloc(plan.metadataBlocks * BLOCK)
  const cursor = { extent: 0 }
  entries.forEach((entry, n) => {
    if (entry.type !== 'hardlink') writeInode(out, entries, n, plan, data, cursor)
  })
  writeSuperblock(out, plan, data.end)
  const { extents, segments, end: dataBlocks } = data
  return { metadata: out, metadataBlocks: plan.metadataBlocks, dataBlocks, extents, segments }
}

/** The same of what was published; throws `disk-mismatch` for a disk that an earlier version laid out. */
export function resynthesise(manifest: Manifest): Synthesised {
  if (manifest.synthesiser === 2) return synthesise(manifest)
  throw new ZosError(
    'Open disk: an earlier version of ZOS published it, and laid disks out otherwise; publish it again',
    {
      code: 'disk-mismatch',
      kind: 'user',
    },
  )
}

/** include/linux/kdev_t.h new_encode_dev(). */
const encodeDevice = (major: number, minor: number) => ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0

function writeInode(
  out: Buffer,
  entries: readonly Entry[],
  n: number,
  plan: InodePlan,
  data: DataPlan,
  cursor: { extent: number },
): void {
  const entry = entries[n] as Exclude<Entry, { type: 'hardlink' }>
  const at = plan.at[n]!
  const body = at + INODE + plan.xattrs[n]!
  let format = plan.inline[n] ? INLINE : PLAIN
  let size = 0
  let union = 0
  if (entry.type === 'directory') {
    const names = plan.children(n).map(({ name, entry: child }) => {
      const named = entries[child]!
      const target = named.type === 'hardlink' ? (entries[named.link] as typeof entry) : named
      return { name, nid: plan.at[child]! / 32, type: FILE_TYPES[target.type] }
    })
    const packed = packNames(names)
    size = packed.size
    union = plan.blocksAt[n]!
    const tail = plan.inline[n] ? packed.counts.length - 1 : -1
    let from = 0
    packed.counts.forEach((count, k) => {
      writeNames(out, k === tail ? body : (union + k) * BLOCK, names, from, count)
      from += count
    })
  } else if (entry.type === 'symlink') {
    size = entry.target.length
    union = plan.blocksAt[n]!
    out.set(entry.target, plan.inline[n] ? body : union * BLOCK)
  } else if (entry.type === 'file') {
    size = entry.size
    const { chunkBits, entries: slots } = mapOf(size, entry.content)
    if (slots > 0) {
      format = CHUNKED
      union = chunkBits
    }
    if (entry.content.kind === 'packed') {
      const first = data.packAt[entry.content.pack]!
      out.writeUInt32LE(first + entry.content.block, body)
      if (data.extents[cursor.extent]?.block === first) cursor.extent++
    } else if (entry.content.kind === 'chunks') {
      entry.content.chunks.forEach((id, k) => {
        out.writeUInt32LE(id ? data.extents[cursor.extent++]!.block : HOLE, body + 4 * k)
      })
    }
  } else if (entry.type === 'character' || entry.type === 'block') union = encodeDevice(entry.major, entry.minor)

  out.writeUInt16LE(format, at)
  out.writeUInt16LE(xattrCount(plan.xattrs[n]!), at + 2)
  out.writeUInt16LE((entry.mode & 0o7777) | MODE_TYPES[entry.type], at + 4)
  out.writeBigUInt64LE(BigInt(size), at + 8)
  out.writeUInt32LE(union, at + 16)
  out.writeUInt32LE(n + 1, at + 20)
  out.writeUInt32LE(entry.uid, at + 24)
  out.writeUInt32LE(entry.gid, at + 28)
  out.writeBigInt64LE(entry.mtime.seconds, at + 32)
  out.writeUInt32LE(entry.mtime.nanoseconds, at + 40)
  out.writeUInt32LE(plan.nlink[n]!, at + 44)
  if (entry.xattrs.length > 0) writeXattrs(out, at + INODE, entry.xattrs)
}

function writeSuperblock(out: Buffer, plan: InodePlan, blocks: number): void {
  const at = SUPERBLOCK
  out.writeUInt32LE(MAGIC, at)
  out.writeUInt32LE(COMPAT_CHECKSUM_AND_MTIME, at + 0x08)
  out[at + 0x0c] = Math.log2(BLOCK)
  out.writeUInt16LE(plan.at[0]! / 32, at + 0x0e)
  out.writeBigUInt64LE(BigInt(plan.inodes), at + 0x10)
  out.writeUInt32LE(blocks, at + 0x24)
  out.write('zos', at + 0x40, 'latin1')
  out.writeUInt32LE(INCOMPAT_CHUNKED_FILE, at + 0x50)
  // a UUID of version 8 (RFC 9562 §5.8) that names the content; build time stays 0: each inode has its own
  const uuid = sha256(out).subarray(0, 16)
  uuid[6] = (uuid[6]! & 0x0f) | 0x80
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  out.set(uuid, at + 0x30)
  out.writeUInt32LE(crc32c(out.subarray(at, BLOCK)), at + 0x04)
}
