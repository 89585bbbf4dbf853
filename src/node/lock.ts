import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
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
