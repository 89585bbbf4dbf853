import { dlopen, getInt32 } from 'node:ffi'
import { ZosError } from '#codec'

/** The only file that calls C: glibc functions Node has no binding for. Experimental in Node 26, hence in one place. */
const { functions: libc } = dlopen('libc.so.6', {
  __errno_location: { arguments: [], return: 'pointer' },
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
