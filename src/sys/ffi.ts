import { dlopen, toArrayBuffer } from 'node:ffi'
import { addressOf, bounce, checkRange, locate, makeWords, scratch, untilConfined } from './ffi-memory.ts'
import { STRUCT_SIZE, TUNSETOFFLOAD } from './ioctl.ts'

/**
 * glibc functions Node has no binding for. Calling C is experimental in Node 26: nothing but the files ffi*.ts does. These are
 * what a thread that moves packets needs, and all that stays on it.
 */
const { functions: given } = dlopen('libc.so.6', {
  __errno_location: { arguments: [], return: 'pointer' },
  accept4: { arguments: ['i32', 'pointer', 'pointer', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  connect: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  fsync: { arguments: ['i32'], return: 'i32' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  // what is called for each packet takes pointers alone (`ffi-gcm.ts`)
  poll: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
  // at most 2^31 bytes are ever moved
  read: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
  setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  socketpair: { arguments: ['i32', 'i32', 'i32', 'pointer'], return: 'i32' },
  write: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
})
/** A copy as a plain object: in the one that Node gives, V8 looks each function up anew at each call. */
const libc = { ...given }
const privileged = untilConfined(
  dlopen('libc.so.6', {
    eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
    listen: { arguments: ['i32', 'i32'], return: 'i32' },
    sendmsg: { arguments: ['i32', 'pointer', 'i32'], return: 'i64' },
    unshare: { arguments: ['i32'], return: 'i32' },
  }).functions,
)
const opening = untilConfined(
  dlopen('libc.so.6', {
    bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
    ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
    setns: { arguments: ['i32', 'i32'], return: 'i32' },
  }).functions,
  { opens: true },
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
export const enterNetwork = (fd: number): number => result(opening.setns(fd, CLONE_NEWNET))

/** What the calls below are given. */
const words = makeWords(3)
const { whole, halves } = words
/** Their lower halves: all that a descriptor or a length needs. */
const [FIRST, SECOND, THIRD] = [0, 2, 4]
/** Reads and writes of memory without a known address are copied through here, in parts where they are longer. */
const through = bounce(192 << 10)

/** read(2) into BYTES[offset, offset+length): bytes read, 0 at the end, -errno. */
export function readFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  if (!locate(bytes, offset, words, 1)) return readThrough(fd, bytes, offset, length)
  halves[FIRST] = fd
  halves[THIRD] = length
  return result(libc.read(whole[0]!, whole[1]!, whole[2]!))
}

function readThrough(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  const n = readFd(fd, through.bytes, 0, Math.min(length, through.bytes.length))
  if (n > 0) through.bytes.copy(bytes, offset, 0, n)
  return n
}

/** write(2) of BYTES[offset, offset+length): bytes written, -errno. */
export function writeFd(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  checkRange(bytes, offset, length)
  if (!locate(bytes, offset, words, 1)) return writeThrough(fd, bytes, offset, length)
  halves[FIRST] = fd
  halves[THIRD] = length
  return result(libc.write(whole[0]!, whole[1]!, whole[2]!))
}

function writeThrough(fd: number, bytes: Uint8Array, offset: number, length: number): number {
  const part = Math.min(length, through.bytes.length)
  through.bytes.set(bytes.subarray(offset, offset + part))
  return writeFd(fd, through.bytes, 0, part)
}

/** sizeof(struct pollfd) */
const POLLFD = 8

/** poll(2) on COUNT `struct pollfd` in FDS; -1 waits for ever. Number ready, -errno. */
export function pollFds(fds: Int32Array, count: number, timeoutMs: number): number {
  if (count * 2 > fds.length) throw new RangeError('poll: more descriptors than room')
  if (!locate(fds, 0, words, 0)) return pollThrough(fds, count, timeoutMs)
  halves[SECOND] = count
  halves[THIRD] = timeoutMs
  return result(libc.poll(whole[0]!, whole[1]!, whole[2]!))
}

function pollThrough(fds: Int32Array, count: number, timeoutMs: number): number {
  const { bytes } = through
  const asked = new Uint8Array(fds.buffer, fds.byteOffset, count * POLLFD)
  checkRange(bytes, 0, asked.length)
  bytes.set(asked)
  const n = pollFds(new Int32Array(bytes.buffer, bytes.byteOffset, count * 2), count, timeoutMs)
  asked.set(bytes.subarray(0, asked.length))
  return n
}

/** fsync(2), while this thread waits: 0, -errno. */
export const syncFd = (fd: number): number => result(libc.fsync(fd))

export const closeFd = (fd: number): void => void libc.close(fd)

/** Small structures lie here during a call, and their length behind. */
const small = scratch(256)
const smallAt = BigInt(small.at)
const LENGTH_AT = small.bytes.length - 4
const lengthAt = BigInt(small.at + LENGTH_AT)

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
  lend(address, (at) => opening.bind(fd, at, address.length))
export const connectFd = (fd: number, address: Uint8Array): number =>
  lend(address, (at) => libc.connect(fd, at, address.length))
export const listenFd = (fd: number, backlog: number): number => result(privileged.listen(fd, backlog))
export const eventFd = (flags: number): number => result(privileged.eventfd(0, flags))
/** ARGUMENT is the request's struct. */
export function ioctlFd(fd: number, request: number, argument: Uint8Array): number {
  // the kernel would write behind it
  checkRange(argument, 0, STRUCT_SIZE[request] ?? Number.NaN)
  return lend(argument, (at) => opening.ioctl(fd, BigInt(request), at))
}

/** Which segmentation is left to the reader and writer of the TUN FD. */
export const setTunOffload = (fd: number, flags: number): number =>
  result(opening.ioctl(fd, BigInt(TUNSETOFFLOAD), BigInt(flags)))

/** accept4(2): the new descriptor, with the peer's sockaddr in ADDRESS (28 bytes or more); -errno. */
export const acceptFd = (fd: number, address: Uint8Array, flags: number): number =>
  lend(address, (at) => libc.accept4(fd, at, lengthAt, flags))

export const setSocketOption = (fd: number, level: number, name: number, value: number): number =>
  lend(new Int32Array([value]), (at) => libc.setsockopt(fd, level, name, at, 4))

/** sendmsg(2): HEADER is a `struct msghdr` whose pointers the caller vouches for. Bytes sent, -errno. */
export const sendMessage = (fd: number, header: Uint8Array, flags: number): number =>
  result(Number(privileged.sendmsg(fd, BigInt(addressOf(header, 0)), flags)))

/** getsockopt(2) into VALUE: bytes the kernel filled in, -errno. */
export function getSocketOption(fd: number, level: number, name: number, value: Uint8Array): number {
  const n = lend(value, (at) => libc.getsockopt(fd, level, name, at, lengthAt))
  return n < 0 ? n : small.bytes.readUInt32LE(LENGTH_AT)
}
