import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { tryLock, until } from '#sys'
import { identify, isRunning, type ProcessIdentity } from '#vm'
import { gridDir } from './local.ts'

const path = (): string => join(gridDir(), 'up.lock')

function open(): number {
  mkdirSync(gridDir(), { recursive: true, mode: 0o700 })
  return openSync(path(), 'a', 0o600)
}

function holder(): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path(), 'utf8')) as ProcessIdentity
  } catch {
    // it has the lock and has not said yet who it is
    return undefined
  }
}

/** One command at a time starts the local grid: this process, from now to its end. */
export async function lockUp(): Promise<void> {
  const lock = open()
  await until('another "zos grid up" to end', 300_000, () => tryLock(lock), 100)
  ftruncateSync(lock)
  writeSync(lock, JSON.stringify(identify(process.pid)))
}

/** Ends the "zos grid up" that is at work, which would start again what is ended meanwhile. Gives what lets the next one begin. */
export async function endUp(): Promise<() => void> {
  const lock = open()
  await until('"zos grid up" to end', 60_000, () => {
    if (tryLock(lock)) return true
    const up = holder()
    if (up && isRunning(up)) process.kill(up.pid, 'SIGTERM')
    return undefined
  })
  ftruncateSync(lock)
  return () => closeSync(lock)
}
