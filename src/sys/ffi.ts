import { dlopen, getInt32 } from 'node:ffi'
import { ZosError } from '#codec'

/** The only file that calls C: glibc functions Node has no binding for. Experimental in Node 26, hence in one place. */
const { functions: libc } = dlopen('libc.so.6', {
  __errno_location: { arguments: [], return: 'pointer' },
  lgetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64'], return: 'i64' },
  llistxattr: { arguments: ['buffer', 'buffer', 'u64'], return: 'i64' },
  lsetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
  mknod: { arguments: ['buffer', 'u32', 'u64'], return: 'i32' },
  utimensat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  flock: { arguments: ['i32', 'i32'], return: 'i32' },
  unshare: { arguments: ['i32'], return: 'i32' },
})

const errno = (): number => getInt32(libc.__errno_location() as bigint)

/** bits/fcntl.h */
const LOCK_EX = 2
const LOCK_NB = 4
/** errno of a lock somebody else holds */
const EWOULDBLOCK = 11
/** linux/sched.h */
const CLONE_NEWNET = 0x40000000

/** Takes the exclusive lock of an open file; false when another process holds it. It ends with the process. */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true
  const code = errno()
  if (code === EWOULDBLOCK) return false
  throw new ZosError(`Lock file: errno ${code}`, { code: 'lock-failed', kind: 'node' })
}

/** Moves this process (call it before threads start) into an empty network namespace; false when that is not allowed. */
export function leaveNetwork(): boolean {
  return libc.unshare(CLONE_NEWNET) === 0
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
