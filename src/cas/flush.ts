import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf } from '#codec'
import { run, syncDirectory } from '#sys'
import { objectPath, type Place } from './dir_sync.ts'
import { inTurn } from './merged.ts'

/**
 * More objects than this are flushed by one syncfs(2) of their file system: a journal commit per file would take longer
 * than the publish. It also bounds what is remembered.
 */
const MANY = 64
/** A disk that takes longer has failed. Milliseconds. */
const DEADLINE = 600_000

export type Flusher = {
  /** The object was written and may not be on the disk yet. */
  add(id: string): void
  /** Returns once all that was added is on the disk; after a failure it still counts as not. */
  flush(): Promise<void>
}

/** Makes the objects of a folder last through a power cut, as few or many as were added. */
export function flusher(place: Place): Flusher {
  let few = new Set<string>()
  let many = false

  const add = (id: string) => {
    if (many) return
    few.add(id)
    if (few.size <= MANY) return
    many = true
    few.clear()
  }

  const flushAll = async () => {
    const [ids, all] = [few, many]
    few = new Set()
    many = false
    try {
      if (all) await run('sync', ['--file-system', place.dir], { timeout: DEADLINE })
      else if (ids.size > 0)
        await flushEach(
          place.dir,
          [...ids].map((id) => objectPath(place.dir, id)),
        )
    } catch (error) {
      for (const id of ids) add(id)
      many ||= all
      throw error
    }
  }

  const turns = inTurn()
  // one at a time: the flush that is under way may have taken on just what the next caller waits for
  return { add, flush: () => turns('', flushAll) }
}

async function flushEach(dir: string, paths: string[]): Promise<void> {
  const flushed = paths.map(async (path) => {
    const handle = await open(path, 'r').catch((error) => {
      if (codeOf(error) === 'ENOENT') return undefined // evicted meanwhile
      throw error
    })
    if (!handle) return
    try {
      await handle.datasync()
    } finally {
      await handle.close()
    }
  })
  await Promise.all(flushed)
  for (const folder of new Set([...paths.map(dirname), dir])) await syncDirectory(folder)
}
