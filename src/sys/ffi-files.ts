import { dlopen } from 'node:ffi'
import { ZosError } from '#codec'
import { EAGAIN, errno } from './ffi.ts'
import { untilConfined } from './ffi-memory.ts'

/** What glibc does with files and Node has no binding for. Not on a confined thread. */
const libc = untilConfined(
  dlopen('libc.so.6', {
    flock: { arguments: ['i32', 'i32'], return: 'i32' },
    lgetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64'], return: 'i64' },
    llistxattr: { arguments: ['buffer', 'buffer', 'u64'], return: 'i64' },
    lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
    lsetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
    mknod: { arguments: ['buffer', 'u32', 'u64'], return: 'i32' },
    utimensat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  }).functions,
)

/** bits/fcntl.h */
const LOCK_EX = 2
const LOCK_NB = 4

/** Takes the exclusive lock of an open file; false when another process holds it. It ends with the process. */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true
  const code = errno()
  if (code === EAGAIN) return false
  throw new ZosError(`Lock file: errno ${code}`, { code: 'lock-failed', kind: 'node' })
}

/** asm-generic/errno.h */
const EOPNOTSUPP = 95
/** linux/limits.h XATTR_LIST_MAX and XATTR_SIZE_MAX: the kernel returns no more. */
const xattrBuffer = Buffer.alloc(65536)
/** linux/fcntl.h */
const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100

const terminated = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, Buffer.alloc(1)])

const failed = (action: string, path: Uint8Array): ZosError =>
  new ZosError(`${action} "${Buffer.from(path)}": errno ${errno()}`, { code: 'file-attributes', kind: 'node' })

/** The extended attributes of PATH itself (a symbolic link is not followed); none where the file system has none. */
export function readXattrs(path: Uint8Array): { name: Buffer; value: Buffer }[] {
  const file = terminated(path)
  const length = Number(libc.llistxattr(file, xattrBuffer, BigInt(xattrBuffer.length)))
  if (length < 0) {
    if (errno() === EOPNOTSUPP) return []
    throw failed('List the extended attributes of', path)
  }
  const names = Buffer.from(xattrBuffer.subarray(0, length)).toString('latin1').split('\0').slice(0, -1)
  return names.map((text) => {
    const name = Buffer.from(text, 'latin1')
    const size = Number(libc.lgetxattr(file, terminated(name), xattrBuffer, BigInt(xattrBuffer.length)))
    if (size < 0) throw failed(`Read the extended attribute "${text}" of`, path)
    return { name, value: Buffer.from(xattrBuffer.subarray(0, size)) }
  })
}

export function writeXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): void {
  if (libc.lsetxattr(terminated(path), terminated(name), Buffer.from(value), BigInt(value.length), 0) !== 0) {
    throw failed(`Set the extended attribute "${Buffer.from(name)}" of`, path)
  }
}

/** Makes a device, fifo or socket node; MODE with its type bits. glibc's dev_t (bits/sysmacros.h). */
export function makeNode(path: Uint8Array, mode: number, major: number, minor: number): void {
  const M = BigInt(major)
  const m = BigInt(minor)
  const device = ((M & 0xfffff000n) << 32n) | ((M & 0xfffn) << 8n) | ((m & 0xffffff00n) << 12n) | (m & 0xffn)
  if (libc.mknod(terminated(path), mode, device) !== 0) throw failed('Make the device node', path)
}

/** Sets the modification time of PATH itself, to the nanosecond, and the access time to the same. */
export function setTime(path: Uint8Array, time: { seconds: bigint; nanoseconds: number }): void {
  const times = Buffer.alloc(32)
  for (const at of [0, 16]) {
    times.writeBigInt64LE(time.seconds, at)
    times.writeBigInt64LE(BigInt(time.nanoseconds), at + 8)
  }
  if (libc.utimensat(AT_FDCWD, terminated(path), times, AT_SYMLINK_NOFOLLOW) !== 0)
    throw failed('Set the time of', path)
}

/** linux/fs.h */
const SEEK_DATA = 3
const SEEK_HOLE = 4
/** asm-generic/errno-base.h: from here on there is no data */
const ENXIO = 6

/** Where the file FD has bytes; between and behind these ranges are holes. Moves its offset. */
export function dataRanges(fd: number): [from: number, to: number][] {
  const ranges: [number, number][] = []
  const seek = (offset: number, whence: number): number => {
    const found = Number(libc.lseek(fd, BigInt(offset), whence))
    if (found >= 0) return found
    const code = errno()
    if (code === ENXIO) return -1
    throw new ZosError(`Look for holes in a file: errno ${code}`, { code: 'seek-failed', kind: 'node' })
  }
  for (let from = seek(0, SEEK_DATA); from >= 0; ) {
    const to = seek(from, SEEK_HOLE)
    ranges.push([from, to])
    from = seek(to, SEEK_DATA)
  }
  return ranges
}
