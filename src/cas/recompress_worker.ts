// The thread of recompress.ts: takes one object at a time, at the lowest priority.
import { closeSync, fdatasyncSync, openSync, readFileSync, readSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { parentPort } from 'node:worker_threads'
import { codeOf, reasonOf } from '#codec'
import { objectPath, type Place, temporaryPath } from './dir_sync.ts'
import { isSettled, open, seal, settle } from './stored.ts'

/** BEFORE and AFTER in bytes; undefined when there was nothing to do. */
export type Outcome = { before: number; after: number } | undefined

setPriority(0, 19) // on Linux 0 is the calling thread

function settledAlready(path: string): boolean {
  const file = openSync(path, 'r')
  try {
    const first = Buffer.alloc(1)
    return readSync(file, first, 0, 1, 0) === 0 || isSettled(first[0])
  } finally {
    closeSync(file)
  }
}

/**
 * Replaces one object by the smaller form of the same bytes, which is on the disk before it takes the name. The new
 * file counts as claimed now: a claim that came meanwhile must not be undone.
 */
function recompress(place: Place, id: string): Outcome {
  const path = objectPath(place.dir, id)
  if (settledAlready(path)) return undefined
  const stored = readFileSync(path)
  const opened = open(id, stored)
  if (!opened.ok) return undefined // damaged: a scrub says so and heals it
  const smaller = seal(opened.kind, opened.plain, 'rest')
  const next = smaller.length < stored.length ? smaller : settle(stored)
  if (!open(id, next).ok) return undefined
  const half = temporaryPath(place.temporary)
  try {
    const file = openSync(half, 'wx')
    try {
      writeFileSync(file, next)
      fdatasyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(half, path)
  } catch (error) {
    rmSync(half, { force: true })
    throw error
  }
  return { before: stored.length, after: next.length }
}

parentPort!.on('message', ({ place, id }: { place: Place; id: string }) => {
  try {
    parentPort!.postMessage({ outcome: recompress(place, id) })
  } catch (error) {
    // collected meanwhile
    if (codeOf(error) === 'ENOENT') parentPort!.postMessage({ outcome: undefined })
    else parentPort!.postMessage({ failure: reasonOf(error) })
  }
})
