import type { CopyEntry } from '../src/vm/agent/types.ts'
import { decodeUtf8 } from '../src/vm/agent/utf8.ts'
import { AT_FDCWD, must, sys } from './native.ts'

export type Facts = CopyEntry & { links: number; device: string; inode: string }

const TYPES: Record<number, CopyEntry['type']> = {
  32768: 'file',
  16384: 'directory',
  40960: 'symlink',
  4096: 'fifo',
  8192: 'character',
  24576: 'block',
}
const AT_SYMLINK_NOFOLLOW = 0x100
const STATX_BASIC = 0x7ff

const buffer = new Uint8Array(256)
const view = new DataView(buffer.buffer)
const u64 = (at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32

/** What is at FILE, under the name PATH; null where nothing is, or what no copy can hold (a socket). Throws other errors. */
export function factsOf(file: string, path: string, follow: boolean): Facts | null {
  const result = sys('statx', AT_FDCWD, file, follow ? 0 : AT_SYMLINK_NOFOLLOW, STATX_BASIC, buffer)
  if (result === -2 || result === -20) return null
  must(`Look at ${path || file}`, result)
  // struct statx, linux/stat.h
  const mode = view.getUint16(28, true)
  const type = TYPES[mode & 0xf000]
  if (!type) return null
  const seconds = view.getInt32(116, true) < 0 ? 0 : u64(112)
  const facts: Facts = {
    path,
    type,
    mode: mode & 0o7777,
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mtime: `${seconds}${`${view.getUint32(120, true)}`.padStart(9, '0')}`,
    size: type === 'file' ? u64(40) : 0,
    links: view.getUint32(16, true),
    device: `${view.getUint32(136, true)}:${view.getUint32(140, true)}`,
    inode: `${view.getUint32(36, true)}:${view.getUint32(32, true)}`,
  }
  if (type === 'character' || type === 'block') {
    facts.major = view.getUint32(128, true)
    facts.minor = view.getUint32(132, true)
  }
  if (type === 'symlink') facts.linkname = readLink(file)
  return facts
}

export function readLink(file: string, dir: number = AT_FDCWD): string {
  const target = new Uint8Array(4096)
  const length = must(`Read link ${file}`, sys('readlinkat', dir, file, target, target.length))
  return decodeUtf8(target, 0, length)
}

/** As it travels: without what only the walker needs. */
export function entryOf({ links: _links, device: _device, inode: _inode, ...entry }: Facts): CopyEntry {
  return entry
}
