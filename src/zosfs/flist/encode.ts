import { ByteWriter, sha256, ZosError } from '#codec'
import type { ChunkId, Entry, Manifest } from '../types.ts'
import { AGAIN, HOLE, LIMITS, MAGIC, NEXT, TYPES } from './layout.ts'
import { packingOf } from './packing.ts'

export type Encoded = {
  /** The canonical bytes: their SHA-256 is the manifest's digest. */
  bytes: Buffer
  /** The fs-verity digests of all files, joined in the order of the entries: a blob named by the manifest. */
  fingerprints: Buffer
}

type Own = Exclude<Entry, { type: 'hardlink' }>

/** Numbers distinct byte strings from 0 in the order of their first appearance. */
function numbering(): { of: (key: string) => { number: number; isNew: boolean } } {
  const numbers = new Map<string, number>()
  return {
    of(key) {
      const known = numbers.get(key)
      if (known !== undefined) return { number: known, isNew: false }
      numbers.set(key, numbers.size)
      return { number: numbers.size - 1, isNew: true }
    },
  }
}

const xattrBytes = (xattrs: Entry['xattrs']): Buffer => {
  const w = new ByteWriter(64)
  w.varint(xattrs.length)
  for (const { name, value } of xattrs) w.blob(name).blob(value)
  return Buffer.from(w.done())
}

const zigzag = (n: bigint): number => Number(n >= 0n ? n * 2n : -n * 2n - 1n)

/**
 * The canonical bytes of a manifest: columns rather than rows, so that like stands beside like and zstd finds it.
 * Entries must be in canonical order and packed as packingOf says; `bad-tree` otherwise.
 */
export function encodeManifest(manifest: Manifest): Encoded {
  const { entries, disk } = manifest
  const bad = (why: string): never => {
    throw new ZosError(`Encode manifest: ${why}`, { code: 'bad-tree', kind: 'bug' })
  }
  const own = entries.filter((e): e is Own => e.type !== 'hardlink')
  const files = own.filter((e) => e.type === 'file')
  const w = new ByteWriter(64 * entries.length + 65536)
  w.bytes(MAGIC).varint(manifest.synthesiser).varint(entries.length)

  for (const { type } of entries) w.u8(TYPES.indexOf(type))
  writeParents(w, entries, bad)
  for (const { name } of entries.slice(1)) w.blob(name)

  const xattrSets = new ByteWriter(1024)
  const owners = new ByteWriter(4096)
  const column = new ByteWriter(entries.length + 16)
  const xattrNumbers = numbering()
  const ownerNumbers = numbering()
  let xattrCount = 0
  let ownerCount = 0
  for (const { mode, uid, gid, xattrs } of own) {
    let set = 0
    if (xattrs.length > 0) {
      const bytes = xattrBytes(xattrs)
      const { number, isNew } = xattrNumbers.of(bytes.toString('latin1'))
      if (isNew) xattrSets.bytes(bytes)
      if (isNew) xattrCount++
      set = number + 1
    }
    const { number, isNew } = ownerNumbers.of(`${mode & 0o7777} ${uid} ${gid} ${set}`)
    if (isNew)
      owners
        .varint(mode & 0o7777)
        .varint(uid)
        .varint(gid)
        .varint(set)
    if (isNew) ownerCount++
    column.varint(number)
  }
  w.varint(xattrCount).bytes(xattrSets.done()).varint(ownerCount).bytes(owners.done()).bytes(column.done())

  let before = 0n
  for (const { mtime } of own) {
    if (mtime.seconds > LIMITS.seconds || mtime.seconds < -LIMITS.seconds) bad(`time ${mtime.seconds} is out of range`)
    w.varint(zigzag(mtime.seconds - before))
    before = mtime.seconds
  }
  for (const { mtime } of own) w.varint(mtime.nanoseconds)
  for (const { size } of files) w.varint(size)
  for (const e of own) if (e.type === 'symlink') w.blob(e.target)
  for (const e of own) if (e.type === 'character' || e.type === 'block') w.varint(e.major).varint(e.minor)
  entries.forEach((e, n) => {
    if (e.type === 'hardlink') w.varint(n - e.link)
  })

  const ids: ChunkId[] = []
  const idNumbers = numbering()
  const reference = (id: ChunkId | undefined) => {
    if (!id) return w.varint(HOLE)
    const { number, isNew } = idNumbers.of(id.toString('latin1'))
    if (isNew) ids.push(id)
    return w.varint(isNew ? NEXT : AGAIN + number)
  }
  const packing = packingOf(entries)
  if (packing.packs.length !== manifest.packs.length) bad('files are not packed as the format says')
  for (const { id } of manifest.packs) reference(id)
  for (const { content } of files) if (content.kind === 'chunks') for (const id of content.chunks) reference(id)
  w.varint(disk.tree.length)
  for (const id of disk.tree) reference(id)
  for (const id of ids) w.bytes(id)

  const fingerprints = Buffer.concat(files.map((e) => e.fingerprint ?? bad('a file has no fingerprint')))
  w.bytes(sha256(fingerprints)).blob(manifest.config).varint(manifest.layers.length)
  for (const { mediaType, digest, size, diffId } of manifest.layers) {
    w.blob(Buffer.from(mediaType)).blob(Buffer.from(digest)).varint(size).blob(Buffer.from(diffId))
  }
  w.bytes(disk.metadataDigest).varint(disk.metadataBlocks).varint(disk.dataBlocks).varint(disk.treeBlocks)
  w.bytes(disk.root)
  w.varint(manifest.startClosure.length)
  let last = -1
  for (const n of manifest.startClosure) {
    w.varint(n - last - 1)
    last = n
  }
  return { bytes: Buffer.from(w.done()), fingerprints }
}

/** For each entry but the root: how many directories are left on the way from the one before to its parent. */
function writeParents(w: ByteWriter, entries: readonly Entry[], bad: (why: string) => never): void {
  const open: number[] = []
  entries.forEach((entry, n) => {
    if (n > 0) {
      const at = open.lastIndexOf(entry.parent)
      if (at < 0) bad(`entry ${n} is not in depth-first order`)
      w.varint(open.length - 1 - at)
      open.length = at + 1
    }
    if (entry.type === 'directory') open.push(n)
  })
}
