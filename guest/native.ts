import { decodeUtf8 } from '../src/vm/agent/utf8.ts'

/** Put on the global object by c/native.c. Strings become C strings, typed arrays pointers, null 0; results are -errno on failure. */
declare const native: {
  syscall(number: number, ...args: Argument[]): number
  fork(flags: number, cgroup: number): number
  execve(path: string, argv: string[], env: string[]): number
  nr: Record<string, number>
  epollEvent: number
  epollData: number
  wanted: string | null
}

export const E = {
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENOEXEC: 8,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EROFS: 30,
  EPIPE: 32,
  ELOOP: 40,
  ECONNREFUSED: 111,
  EINPROGRESS: 115,
} as const

const words: Record<number, string> = {
  1: 'operation not permitted',
  2: 'no such file or directory',
  5: 'input/output error',
  8: 'exec format error',
  11: 'resource temporarily unavailable',
  12: 'cannot allocate memory',
  13: 'permission denied',
  16: 'device or resource busy',
  17: 'file exists',
  20: 'not a directory',
  21: 'is a directory',
  22: 'invalid argument',
  24: 'too many open files',
  28: 'no space left on device',
  30: 'read-only file system',
  36: 'file name too long',
  39: 'directory not empty',
  40: 'too many levels of symbolic links',
  111: 'connection refused',
}

export const errnoText = (errno: number): string => words[errno] ?? `errno ${errno}`

export class SysError extends Error {
  readonly errno: number
  constructor(what: string, errno: number) {
    super(`${what}: ${errnoText(errno)}`)
    this.errno = errno
  }
}

type Argument = number | string | Uint8Array | null | undefined

/** One system call by name; gives its result or -errno. Not "...args": the engine would make an array of them and spread it again. */
export function sys(
  name: string,
  a?: Argument,
  b?: Argument,
  c?: Argument,
  d?: Argument,
  e?: Argument,
  f?: Argument,
): number {
  return native.syscall(native.nr[name]!, a, b, c, d, e, f)
}

/** RESULT of a call, or a SysError that says WHAT failed. */
export function must(what: string, result: number): number {
  if (result < 0) throw new SysError(what, -result)
  return result
}

export const fork = native.fork
export const execve = native.execve
export const { epollEvent, epollData } = native
/** The module the kernel started this process for; null in PID 1. */
export const wantedModule = native.wanted

export function exit(code: number): never {
  for (;;) sys('exit_group', code)
}

export const AT_FDCWD = -100
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
  // these three differ on arm64 (asm/fcntl.h)
  DIRECTORY: native.nr.openat === 56 ? 0o40000 : 0o200000,
  NOFOLLOW: native.nr.openat === 56 ? 0o100000 : 0o400000,
  PATH: 0o10000000,
} as const

export function open(path: string, flags: number, mode = 0): number {
  return sys('openat', AT_FDCWD, path, flags | O.CLOEXEC, mode)
}

export const close = (fd: number): number => sys('close', fd)

/** All of a small file, up to LIMIT bytes. Also for /proc, where sizes are 0. */
export function readBytes(path: string, limit = 1 << 20): Uint8Array {
  const fd = must(`Open ${path}`, open(path, O.RDONLY))
  let buffer = new Uint8Array(4096)
  let length = 0
  for (;;) {
    if (length === buffer.length) {
      const more = new Uint8Array(length * 2)
      more.set(buffer)
      buffer = more
    }
    const got = sys('read', fd, buffer.subarray(length), buffer.length - length)
    if (got <= 0 || length > limit) {
      close(fd)
      must(`Read ${path}`, got)
      return buffer.subarray(0, length)
    }
    length += got
  }
}

export function readText(path: string): string {
  return decodeUtf8(readBytes(path))
}

/** readText, or '' when there is no such file. */
export function readTextIf(path: string): string {
  try {
    return readText(path)
  } catch {
    return ''
  }
}

/** All of BYTES to a blocking descriptor. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += must('Write', sys('write', fd, bytes.subarray(at), bytes.length - at))
}

export function writeFile(path: string, data: Uint8Array, mode = 0o644): void {
  const fd = must(`Create ${path}`, open(path, O.WRONLY | O.CREAT | O.TRUNC, mode))
  try {
    writeAll(fd, data)
  } finally {
    close(fd)
  }
}

/** Two descriptors: read end, write end. */
export function pipe(): [number, number] {
  const pair = new Uint8Array(8)
  must('Make a pipe', sys('pipe2', pair, O.CLOEXEC))
  const view = new DataView(pair.buffer)
  return [view.getInt32(0, true), view.getInt32(4, true)]
}

const F_SETFL = 4
export function nonblocking(fd: number): void {
  must('Set O_NONBLOCK', sys('fcntl', fd, F_SETFL, O.NONBLOCK))
}

/** Names in a directory, without `.` and `..`. */
export function list(path: string): string[] {
  const fd = must(`Open ${path}`, open(path, O.RDONLY | O.DIRECTORY))
  try {
    return listFd(fd)
  } finally {
    close(fd)
  }
}

/** Names in the open directory FD. */
function listFd(fd: number): string[] {
  const names: string[] = []
  const buffer = new Uint8Array(16384)
  const view = new DataView(buffer.buffer)
  for (;;) {
    const got = must('List a directory', sys('getdents64', fd, buffer, buffer.length))
    if (got === 0) return names
    // struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name
    for (let at = 0; at < got; at += view.getUint16(at + 16, true)) {
      const name = decodeUtf8(buffer, at + 19, buffer.indexOf(0, at + 19))
      if (name !== '.' && name !== '..') names.push(name)
    }
  }
}

export function mkdir(path: string, mode = 0o755): void {
  const result = sys('mkdirat', AT_FDCWD, path, mode)
  if (result < 0 && result !== -E.EEXIST) must(`Make ${path}`, result)
}

/** mkdir -p; true when the last part was not there. */
export function mkdirs(path: string): boolean {
  let made = false
  for (let at = path.indexOf('/', 1); ; at = path.indexOf('/', at + 1)) {
    const part = at < 0 ? path : path.slice(0, at)
    const result = sys('mkdirat', AT_FDCWD, part, 0o755)
    if (result < 0 && result !== -E.EEXIST && at < 0) must(`Make ${path}`, result)
    made = result >= 0
    if (at < 0) return made
  }
}

export const CLONE = {
  NEWNS: 0x20000,
  NEWCGROUP: 0x2000000,
  NEWUTS: 0x4000000,
  NEWIPC: 0x8000000,
  NEWPID: 0x20000000,
} as const

export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  NOATIME: 1024,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  PRIVATE: 1 << 18,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
} as const

export function mount(source: string, target: string, type: string, flags: number, data = ''): void {
  must(`Mount ${type || source} on ${target}`, sys('mount', source, target, type, flags, data))
}

const clockBuffer = new Uint8Array(16)
const clockView = new DataView(clockBuffer.buffer)
/** CLOCK_MONOTONIC in milliseconds. */
export function now(): number {
  sys('clock_gettime', 1, clockBuffer)
  return clockView.getUint32(0, true) * 1000 + clockView.getUint32(8, true) / 1e6
}

/** Major and minor as `mknod` takes them (new_encode_dev, linux/kdev_t.h). */
export const device = (major: number, minor: number): number => (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)
