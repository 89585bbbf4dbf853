import { openSync } from 'node:fs'
import { join } from 'node:path'
import { tryLock } from '#sys'

/** True when this is the only daemon of this home; the lock goes with the process, however it ends. */
export function lockHome(home: string): boolean {
  const fd = openSync(join(home, 'daemon.lock'), 'a', 0o600)
  if (!tryLock(fd)) return false
  return true
}
