import { decodeJson, getU32 } from '../src/vm/agent/protocol.ts'
import type { CopyEntry } from '../src/vm/agent/types.ts'
import { factsOf } from './files.ts'
import { AT_FDCWD, close, device, E, must, O, open, sys, writeAll } from './native.ts'

const MAX_HEADER = 32768
const KINDS = { fifo: 0x1000, character: 0x2000, block: 0x6000 } as const

/** PATH below BASE. Links in the way are followed, as cp and tar do; the caller's root is what bounds them. */
function placeOf(base: string, path: string): string {
  const parts = path.split('/').filter((p) => p !== '' && p !== '.')
  if (path.startsWith('/') || parts.includes('..')) throw new Error(`Copy "${path}": a path that leads out`)
  return parts.length === 0 ? base : `${base}/${parts.join('/')}`
}

function remove(file: string): void {
  const result = sys('unlinkat', AT_FDCWD, file, 0)
  if (result < 0 && result !== -E.ENOENT) must(`Replace ${file}`, result === -1 ? -E.EISDIR : result)
}

/** Makes one entry; FILL writes a regular file's bytes. What is there is replaced, but for directories. */
export function makeEntry(
  base: string,
  entry: CopyEntry,
  owner: { uid: number; gid: number },
  fill: (fd: number) => void,
): void {
  const file = placeOf(base, entry.path)
  const top = file === base
  if (entry.type === 'directory') {
    const there = factsOf(file, entry.path, true)
    if (!there) must(`Make ${entry.path}`, sys('mkdirat', AT_FDCWD, file, 0o700))
    else if (there.type !== 'directory')
      throw new Error(`Copy "${entry.path}": a ${there.type} is in the way of a directory`)
    if (top) return
  } else if (top) throw new Error('Copy: the top has to be a directory')
  else {
    remove(file)
    if (entry.type === 'file') {
      const fd = must(`Create ${entry.path}`, open(file, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600))
      try {
        fill(fd)
      } finally {
        close(fd)
      }
    } else if (entry.type === 'symlink')
      must(`Link ${entry.path}`, sys('symlinkat', entry.linkname ?? '', AT_FDCWD, file))
    else if (entry.type === 'hardlink') {
      must(`Link ${entry.path}`, sys('linkat', AT_FDCWD, placeOf(base, entry.linkname ?? ''), AT_FDCWD, file, 0))
      return
    } else
      must(
        `Make ${entry.path}`,
        sys('mknodat', AT_FDCWD, file, KINDS[entry.type] | 0o600, device(entry.major ?? 0, entry.minor ?? 0)),
      )
  }
  must(`Give ${entry.path}`, sys('fchownat', AT_FDCWD, file, owner.uid, owner.gid, 0x100))
  if (entry.type !== 'symlink')
    must(`Set the mode of ${entry.path}`, sys('fchmodat', AT_FDCWD, file, entry.mode & 0o7777))
  if (entry.type !== 'directory') setTime(file, entry.mtime)
}

/** NANOSECONDS since 1970 as decimal text. */
export function setTime(file: string, nanoseconds: string): void {
  const digits = nanoseconds.padStart(10, '0')
  const seconds = Number(digits.slice(0, -9))
  const times = new Uint8Array(32)
  const view = new DataView(times.buffer)
  for (const at of [0, 16]) {
    view.setUint32(at, seconds % 2 ** 32, true)
    view.setUint32(at + 4, Math.floor(seconds / 2 ** 32), true)
    view.setUint32(at + 8, Number(digits.slice(-9)), true)
  }
  sys('utimensat', AT_FDCWD, file, times, 0x100)
}

/** Reads exactly LENGTH bytes from standard input into BYTES; false at a clean end before the first. */
function readExactly(bytes: Uint8Array, length: number): boolean {
  for (let at = 0; at < length; ) {
    const got = must('Read the copy', sys('read', 0, bytes.subarray(at), length - at))
    if (got === 0) {
      if (at === 0) return false
      throw new Error('Read the copy: it ends in the middle')
    }
    at += got
  }
  return true
}

const piece = new Uint8Array(65536)

/** Records from standard input, as copyOut writes them, below the directory BASE. */
export function copyIn(base: string, keepOwner: boolean): void {
  if (factsOf(base, '', true)?.type !== 'directory') throw new Error(`Copy to ${base}: no such directory`)
  const directories: CopyEntry[] = []
  const head = new Uint8Array(4)
  for (;;) {
    if (!readExactly(head, 4)) throw new Error('Read the copy: it ends without its last record')
    const length = getU32(head, 0)
    if (length === 0) break
    if (length > MAX_HEADER) throw new Error(`Read the copy: a header of ${length} bytes`)
    const json = new Uint8Array(length)
    if (!readExactly(json, length)) throw new Error('Read the copy: it ends in the middle')
    const entry = decodeJson(json) as CopyEntry
    makeEntry(base, entry, keepOwner ? entry : { uid: 0, gid: 0 }, (fd) => {
      for (let left = entry.size; left > 0; ) {
        const part = Math.min(left, piece.length)
        if (!readExactly(piece, part)) throw new Error('Read the copy: it ends in the middle')
        writeAll(fd, piece.subarray(0, part))
        left -= part
      }
    })
    if (entry.type === 'directory') directories.push(entry)
  }
  // what was put into them has changed their times
  for (const entry of directories.reverse())
    if (placeOf(base, entry.path) !== base) setTime(placeOf(base, entry.path), entry.mtime)
}
