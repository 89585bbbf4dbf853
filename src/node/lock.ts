import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { tryLock } from '#sys'

/** Takes the lock at PATH until this process ends, however it ends; false when another one has it. */
export function takeLock(path: string): boolean {
  const fd = openSync(path, 'a', 0o600)
  if (!tryLock(fd)) {
    closeSync(fd)
    return false
  }
  ftruncateSync(fd)
  writeSync(fd, `${process.pid}\n`)
  return true
}

/** The process that has the lock at PATH; undefined: none. For this moment it is held here: takers should try again. */
export function holderOf(path: string): number | undefined {
  const fd = openSync(path, 'a', 0o600)
  try {
    return tryLock(fd) ? undefined : Number(readFileSync(path, 'latin1'))
  } finally {
    closeSync(fd)
  }
}

/** How often a home is looked at. Milliseconds. */
const LOOK_EVERY = 5000

/**
 * Calls GONE once when the lock at PATH, which this process has, was removed, as it is with all of its home: nobody could reach this
 * process any more, and another one might take the home up beside it. A home that was moved, or is out of reach, is not gone.
 */
export function whenRemoved(path: string, gone: () => void, every = LOOK_EVERY): void {
  const fd = openSync(path, 'r')
  const timer = setInterval(() => {
    if (fstatSync(fd).nlink > 0) return
    clearInterval(timer)
    closeSync(fd)
    gone()
  }, every)
  timer.unref()
}
