import { dlopen, toArrayBuffer } from 'node:ffi'
import { addressOf, bounce, checkRange, pointer, scratch, UNKNOWN, untilConfined } from './ffi-memory.ts'

/**
 * glibc functions Node has no binding for. Calling C is experimental in Node 26: nothing but the files ffi*.ts does. These are
 * what a thread that moves packets needs, and all that stays on it.
 */
const { functions: libc } = dlopen('libc.so.6', {
  __errno_location: { arguments: [], return: 'pointer' },
  accept4: { arguments: ['i32', 'pointer', 'pointer', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  poll: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
  // one range whose address and length lie in memory: no object is made for either. At most 2^31 bytes are ever moved
  readv: { arguments: ['i32', 'pointer', 'i32'], return: 'i32' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  socketpair: { arguments: ['i32', 'i32', 'i32', 'pointer'], return: 'i32' },
  writev: { arguments: ['i32', 'pointer', 'i32'], return: 'i32' },
})
const privileged = untilConfined(
  dlopen('libc.so.6', {
    bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
    eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
    ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
    listen: { arguments: ['i32', 'i32'], return: 'i32' },
    madvise: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
    malloc_trim: { arguments: ['u64'], return: 'i32' },
    sendmsg: { arguments: ['i32', 'pointer', 'i32'], return: 'i64' },
    setns: { arguments: ['i32', 'i32'], return: 'i32' },
    unshare: { arguments: ['i32'], return: 'i32' },
  }).functions,
)

/** Where this thread's errno lies. */
const lastError = new Int32Array(toArrayBuffer(libc.__errno_location() as bigint, 4, false))

/** errno of the calling thread's last failed call; read it before anything else runs. */
export const errno = (): number => lastError[0]!

/** asm-generic/errno-base.h: would block (also a lock somebody else holds), interrupted */
export const EAGAIN = 11
export const EINTR = 4
/** linux/sched.h */
const CLONE_NEWNET = 0x40000000

/** The calls as C has them: 0 or more, or -errno. */
const result = (n: number): number => (n < 0 ? -errno() : n)

/** Moves this process (call it before threads start) into an empty network namespace; false when that is not allowed. */
export function leaveNetwork(): boolean {
  return privileged.unshare(CLONE_NEWNET) === 0
}

/** Moves this thread, and no other, into the network namespace that FD is open on: 0, -errno. */
export const enterNetwork = (fd: number): number => result(privileged.setns(fd, CLONE_NEWNET))

/** struct iovec: address, length */
const vector = new Uint32Array(4)
const vectorAt = pointer(addressOf(vector, 0))
/** What is read and written of memory with no known address goes through here; more than this is done in parts. */
const through = bounce(192 << 10)

/** Moves LENGTH bytes of memory AT by CALL: how many, -errno. */
function move(call: typeof libc.readv, fd: number, at: number, length: number): number {
  vector[0] = at >>> 0
  vector[1] = Math.floor(at / 2 ** 32)
  vector[2] = length
  return result(call(fd, vectorAt, 1))
}

/** read(2) into BYTES[offset, offset+length): bytes read, 0 at the end, -errno. */
export function readFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  const at = addressOf(bytes, offset)
  if (at !== UNKNOWN) return move(libc.readv, fd, at, length)
  const n = move(libc.readv, fd, through.at, Math.min(length, through.bytes.length))
  if (n > 0) through.bytes.copy(bytes, offset, 0, n)
  return n
}

/** write(2) of BYTES[offset, offset+length): bytes written, -errno. */
export function writeFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  const at = addressOf(bytes, offset)
  if (at !== UNKNOWN) return move(libc.writev, fd, at, length)
  const part = Math.min(length, through.bytes.length)
  through.bytes.set(bytes.subarray(offset, offset + part))
  return move(libc.writev, fd, through.at, part)
}

/** sizeof(struct pollfd) */
const POLLFD = 8

/** poll(2) on COUNT `struct pollfd` in FDS; -1 waits for ever. Number ready, -errno. */
export function pollFds(fds: Int32Array, count: number, timeoutMs: number): number {
  if (count * 2 > fds.length) throw new RangeError('poll: more descriptors than room')
  const at = addressOf(fds, 0)
  if (at !== UNKNOWN) return result(libc.poll(pointer(at), BigInt(count), timeoutMs))
  const asked = new Uint8Array(fds.buffer, fds.byteOffset, count * POLLFD)
  checkRange(through.bytes, 0, asked.length)
  through.bytes.set(asked)
  const n = result(libc.poll(pointer(through.at), BigInt(count), timeoutMs))
  asked.set(through.bytes.subarray(0, asked.length))
  return n
}

/** Gives the kernel back what this process has freed: of itself glibc keeps most of it. A few milliseconds. */
export const trimHeap = (): void => void privileged.malloc_trim(0n)

/** bits/mman-linux.h */
const MADV_DONTNEED = 4
/** Forgets pages of a file that were only read; they are read again when touched. Of pages written to, that is lost. */
export const dropPages = (start: number, length: number): number =>
  privileged.madvise(BigInt(start), BigInt(length), MADV_DONTNEED)

export const closeFd = (fd: number): void => void libc.close(fd)

/** Small structures lie here during a call, and their length behind. */
const small = scratch(256)
const smallAt = pointer(small.at)
const LENGTH_AT = small.bytes.length - 4
const lengthAt = pointer(small.at + LENGTH_AT)

/** Hands a copy of ARGUMENT to CALL and takes back what it made of it. */
function lend(argument: Uint8Array | Int32Array, call: (at: bigint) => number): number {
  const bytes = new Uint8Array(argument.buffer, argument.byteOffset, argument.byteLength)
  checkRange(small.bytes, 0, bytes.length + 4)
  small.bytes.set(bytes)
  small.bytes.writeUInt32LE(bytes.length, LENGTH_AT)
  const n = result(call(smallAt))
  bytes.set(small.bytes.subarray(0, bytes.length))
  return n
}

export const socketFd = (family: number, type: number, protocol: number): number =>
  result(libc.socket(family, type, protocol))
/** Two connected sockets: their descriptors in PAIR, which holds two numbers. */
export const socketPairFd = (family: number, type: number, pair: Int32Array): number =>
  pair.length < 2 ? -1 : lend(pair, (at) => libc.socketpair(family, type, 0, at))
export const bindFd = (fd: number, address: Uint8Array): number =>
  lend(address, (at) => privileged.bind(fd, at, address.length))
export const connectFd = (fd: number, address: Uint8Array): number =>
  lend(address, (at) => libc.connect(fd, at, address.length))
export const listenFd = (fd: number, backlog: number): number => result(privileged.listen(fd, backlog))
export const eventFd = (flags: number): number => result(privileged.eventfd(0, flags))
/** ARGUMENT must be as long as the request writes: the caller knows the struct. */
export const ioctlFd = (fd: number, request: number, argument: Uint8Array): number =>
  lend(argument, (at) => privileged.ioctl(fd, BigInt(request), at))

/** ioctl(2) whose argument is a number, not a struct. */
export const ioctlNumber = (fd: number, request: number, argument: number): number =>
  result(privileged.ioctl(fd, BigInt(request), BigInt(argument)))

/** accept4(2): the new descriptor, with the peer's sockaddr in ADDRESS (28 bytes or more); -errno. */
export const acceptFd = (fd: number, address: Uint8Array, flags: number): number =>
  lend(address, (at) => libc.accept4(fd, at, lengthAt, flags))

export const setSocketOption = (fd: number, level: number, name: number, value: number): number =>
  lend(new Int32Array([value]), (at) => libc.setsockopt(fd, level, name, at, 4))

/** sendmsg(2): HEADER is a `struct msghdr` whose pointers the caller vouches for. Bytes sent, -errno. */
export const sendMessage = (fd: number, header: Uint8Array, flags: number): number =>
  result(Number(privileged.sendmsg(fd, pointer(addressOf(header, 0)), flags)))

/** getsockopt(2) into VALUE: bytes the kernel filled in, -errno. */
export function getSocketOption(fd: number, level: number, name: number, value: Uint8Array): number {
  const n = lend(value, (at) => libc.getsockopt(fd, level, name, at, lengthAt))
  return n < 0 ? n : small.bytes.readUInt32LE(LENGTH_AT)
}
