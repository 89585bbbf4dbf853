import { dlopen, getInt32, getRawPointer } from 'node:ffi'
import { ZosError } from '#codec'

/**
 * glibc functions Node has no binding for. Calling C is experimental in Node 26: nothing but this file and ffi-gcm.ts does.
 */
const { functions: libc } = dlopen('libc.so.6', {
  __errno_location: { arguments: [], return: 'pointer' },
  lgetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64'], return: 'i64' },
  llistxattr: { arguments: ['buffer', 'buffer', 'u64'], return: 'i64' },
  lsetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
  madvise: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
  malloc_trim: { arguments: ['u64'], return: 'i32' },
  mknod: { arguments: ['buffer', 'u32', 'u64'], return: 'i32' },
  utimensat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  accept4: { arguments: ['i32', 'pointer', 'pointer', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
  flock: { arguments: ['i32', 'i32'], return: 'i32' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
  listen: { arguments: ['i32', 'i32'], return: 'i32' },
  lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  read: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
  sendmsg: { arguments: ['i32', 'pointer', 'i32'], return: 'i64' },
  setns: { arguments: ['i32', 'i32'], return: 'i32' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  socketpair: { arguments: ['i32', 'i32', 'i32', 'pointer'], return: 'i32' },
  unshare: { arguments: ['i32'], return: 'i32' },
  write: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
})

/** errno of the calling thread's last failed call; read it before anything else runs. */
export const errno = (): number => getInt32(libc.__errno_location() as bigint)

/** bits/fcntl.h */
const LOCK_EX = 2
const LOCK_NB = 4
/** asm-generic/errno-base.h: would block (also a lock somebody else holds), interrupted */
export const EAGAIN = 11
export const EINTR = 4
/** linux/sched.h */
const CLONE_NEWNET = 0x40000000

/** Takes the exclusive lock of an open file; false when another process holds it. It ends with the process. */
export function tryLock(fd: number): boolean {
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return true
  const code = errno()
  if (code === EAGAIN) return false
  throw new ZosError(`Lock file: errno ${code}`, { code: 'lock-failed', kind: 'node' })
}

/** Moves this process (call it before threads start) into an empty network namespace; false when that is not allowed. */
export function leaveNetwork(): boolean {
  return libc.unshare(CLONE_NEWNET) === 0
}

/** Moves this thread, and no other, into the network namespace that FD is open on: 0, -errno. */
export const enterNetwork = (fd: number): number => result(libc.setns(fd, CLONE_NEWNET))

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

/** Refuses a range outside BYTES: the kernel would read or write whatever lies behind it. */
export function checkRange(bytes: Uint8Array, offset: number, length: number): void {
  if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length))
    throw new ZosError(`Call the kernel with bytes ${offset}+${length} of ${bytes.length}: out of range`, {
      code: 'ffi-range',
      kind: 'bug',
    })
}

const addresses = new WeakMap<ArrayBufferLike, bigint>()

/**
 * Where BYTES[offset] lies, for calls made per packet: handing over a view costs node:ffi a microsecond more. Memory of an
 * ArrayBuffer does not move, whoever calls holds on to it, and one given away has no length left: check the range first.
 */
export function addressOf(bytes: Uint8Array | Int32Array, offset: number): bigint {
  const { buffer } = bytes
  let base = addresses.get(buffer)
  if (base === undefined) {
    base = getRawPointer(buffer as ArrayBuffer)
    addresses.set(buffer, base)
  }
  return base + BigInt(bytes.byteOffset + offset)
}

/** read(2) into BYTES[offset, offset+length): bytes read, 0 at the end, -errno. */
export function readFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  const n = Number(libc.read(fd, addressOf(bytes, offset), BigInt(length)))
  return n < 0 ? -errno() : n
}

/** write(2) of BYTES[offset, offset+length): bytes written, -errno. */
export function writeFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  const n = Number(libc.write(fd, addressOf(bytes, offset), BigInt(length)))
  return n < 0 ? -errno() : n
}

/** poll(2) on COUNT `struct pollfd` (8 bytes each) in FDS; -1 waits for ever. Number ready, -errno. */
export function pollFds(fds: Int32Array, count: number, timeoutMs: number): number {
  if (count * 2 > fds.length) throw new RangeError('poll: more descriptors than room')
  const n = libc.poll(addressOf(fds, 0), BigInt(count), timeoutMs)
  return n < 0 ? -errno() : n
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

/** Gives the kernel back what this process has freed: of itself glibc keeps most of it. A few milliseconds. */
export const trimHeap = (): void => void libc.malloc_trim(0n)

/** bits/mman-linux.h */
const MADV_DONTNEED = 4
/** Forgets pages of a file that were only read; they are read again when touched. Of pages written to, that is lost. */
export const dropPages = (start: number, length: number): number =>
  libc.madvise(BigInt(start), BigInt(length), MADV_DONTNEED)

export const closeFd = (fd: number): void => void libc.close(fd)

/** The remaining calls, as C has them: 0 or more, or -errno. */
const result = (n: number): number => (n < 0 ? -errno() : n)
export const socketFd = (family: number, type: number, protocol: number): number =>
  result(libc.socket(family, type, protocol))
/** Two connected sockets: their descriptors in PAIR, which holds two numbers. */
export const socketPairFd = (family: number, type: number, pair: Int32Array): number =>
  pair.length < 2 ? -1 : result(libc.socketpair(family, type, 0, pair))
export const bindFd = (fd: number, address: Uint8Array): number => result(libc.bind(fd, address, address.length))
export const connectFd = (fd: number, address: Uint8Array): number => result(libc.connect(fd, address, address.length))
export const listenFd = (fd: number, backlog: number): number => result(libc.listen(fd, backlog))
export const eventFd = (flags: number): number => result(libc.eventfd(0, flags))
/** ARGUMENT must be as long as the request writes: the caller knows the struct. */
export const ioctlFd = (fd: number, request: number, argument: Uint8Array): number =>
  result(libc.ioctl(fd, BigInt(request), argument))

/** ioctl(2) whose argument is a number, not a struct. */
export const ioctlNumber = (fd: number, request: number, argument: number): number =>
  result(libc.ioctl(fd, BigInt(request), BigInt(argument)))

/** accept4(2): the new descriptor, with the peer's sockaddr in ADDRESS (28 bytes or more); -errno. */
export function acceptFd(fd: number, address: Uint8Array, flags: number): number {
  const length = new Uint32Array([address.length])
  return result(libc.accept4(fd, address, length, flags))
}

export const setSocketOption = (fd: number, level: number, name: number, value: number): number =>
  result(libc.setsockopt(fd, level, name, new Int32Array([value]), 4))

/** sendmsg(2): HEADER is a `struct msghdr` whose pointers the caller vouches for. Bytes sent, -errno. */
export const sendMessage = (fd: number, header: Uint8Array, flags: number): number =>
  result(Number(libc.sendmsg(fd, addressOf(header, 0), flags)))

/** getsockopt(2) into VALUE: bytes the kernel filled in, -errno. */
export function getSocketOption(fd: number, level: number, name: number, value: Uint8Array): number {
  const length = new Uint32Array([value.length])
  const n = result(libc.getsockopt(fd, level, name, value, length))
  return n < 0 ? n : length[0]!
}
