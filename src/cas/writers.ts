import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, openSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '#codec'
import { makeFolder, tryLock } from '#sys'
import type { ChunkBackend } from './backend.ts'
import { temporaryPath } from './dir_sync.ts'

const NAME = /^writing-[0-9a-f]{16}$/

/**
 * Says that from now on objects are written or claimed in BACKEND which nothing names yet: a collection spares them, however
 * long it takes. A locked file beside the objects; the lock ends with the process. For a place that is no folder of this
 * machine it does nothing: there only a collection's grace protects.
 */
export function announceWriting({ direct }: ChunkBackend): Disposable {
  if (!direct) return { [Symbol.dispose]() {} }
  makeFolder(direct.temporary)
  for (;;) {
    const path = join(direct.temporary, `writing-${randomBytes(8).toString('hex')}`)
    const fd = openSync(path, 'wx', 0o600)
    if (tryLock(fd) && fstatSync(fd).nlink > 0) {
      return {
        [Symbol.dispose]() {
          rmSync(path, { force: true })
          closeSync(fd)
        },
      }
    }
    // a collection looked between the two and took it for one left behind
    closeSync(fd)
  }
}

/**
 * Now, as the times of new objects in BACKEND tell it (ms since 1970): a kernel's file times lag behind its clock by up to a
 * tick, a file server's by what its clock does.
 */
export function nowIn({ direct }: ChunkBackend): number {
  if (!direct) return Date.now()
  makeFolder(direct.temporary)
  const path = temporaryPath(direct.temporary)
  const fd = openSync(path, 'wx', 0o600)
  try {
    // claims are in whole milliseconds
    return Math.floor(fstatSync(fd).mtimeMs)
  } finally {
    closeSync(fd)
    rmSync(path, { force: true })
  }
}

/** When the writer that has been at it the longest began (ms since 1970); infinity when none is. */
export function oldestWriting({ direct }: ChunkBackend): number {
  let oldest = Number.POSITIVE_INFINITY
  if (!direct) return oldest
  for (const name of namesIn(direct.temporary)) {
    const path = join(direct.temporary, name)
    let fd: number
    try {
      fd = openSync(path, 'r')
    } catch (error) {
      if (codeOf(error) === 'ENOENT') continue // it ended just now
      throw error
    }
    try {
      if (tryLock(fd)) rmSync(path, { force: true })
      else oldest = Math.min(oldest, Math.floor(fstatSync(fd).mtimeMs))
    } finally {
      closeSync(fd)
    }
  }
  return oldest
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).filter((name) => NAME.test(name))
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
