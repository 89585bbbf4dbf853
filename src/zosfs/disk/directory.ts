import { BLOCK } from '../types.ts'

/** One name of a directory: NID of its inode and EROFS file type (erofs_fs.h EROFS_FT_*). */
export type Name = { name: Buffer; nid: number; type: number }

const DIRENT = 12

/** Names per block, greedily filled, and the bytes of the last block. NAMES are sorted, `.` and `..` among them. */
export function packNames(names: readonly { name: Buffer }[]): { counts: number[]; size: number } {
  const counts: number[] = []
  let used = 0
  let count = 0
  for (const { name } of names) {
    const need = DIRENT + name.length
    if (used + need > BLOCK) {
      counts.push(count)
      used = 0
      count = 0
    }
    used += need
    count++
  }
  counts.push(count)
  return { counts, size: (counts.length - 1) * BLOCK + used }
}

/** Writes NAMES[from..from+count) as one directory block at AT: all dirents, then all names. OUT is zeroed there. */
export function writeNames(out: Buffer, at: number, names: readonly Name[], from: number, count: number): void {
  let nameAt = count * DIRENT
  for (let n = 0; n < count; n++) {
    const { name, nid, type } = names[from + n]!
    const to = at + n * DIRENT
    out.writeUInt32LE(nid, to) // nids above 32 bits would need 128 GiB of metadata
    out.writeUInt16LE(nameAt, to + 8)
    out[to + 10] = type
    out.set(name, at + nameAt)
    nameAt += name.length
  }
}
