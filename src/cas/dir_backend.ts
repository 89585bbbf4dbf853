import { mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import type { ChunkBackend, Stored } from './backend.ts'
import { claimSync, objectPath, temporaryPath, writeSync } from './dir_sync.ts'
import { flusher } from './flush.ts'

const SHARD = /^[0-9a-f]{2}$/
const REST = /^[0-9a-f]{62}$/

/**
 * One plain file per object: `DIR/ab/cdef…`. Half-written files are in TEMPORARY, which must be on the same file
 * system; below DIR there is nothing else.
 */
export function dirBackend(dir: string, options: { temporary: string }): ChunkBackend {
  const { temporary } = options
  const place = { dir, temporary }
  const pending = flusher(place)
  const pathOf = (id: string) => objectPath(dir, id)

  const away = (action: string, cause: unknown): ZosError =>
    new ZosError(
      codeOf(cause) === 'ENOSPC' || codeOf(cause) === 'EDQUOT'
        ? `${action} in "${dir}": the disk is full; free space there or run "zos store gc"`
        : `${action} in "${dir}": ${reasonOf(cause)}`,
      {
        code: codeOf(cause) === 'ENOSPC' || codeOf(cause) === 'EDQUOT' ? 'store-full' : 'source-away',
        kind: 'node',
        details: { dir },
        cause,
      },
    )

  /** An absent file in an absent or empty folder (a disk not mounted) says nothing about the object. */
  const absent = async (action: string): Promise<void> => {
    let names: string[]
    try {
      names = await readdir(dir)
    } catch (error) {
      throw away(action, error)
    }
    if (names.length === 0) throw away(action, new Error('the folder is empty; is its disk mounted?'))
  }

  /** Runs ACT; an object that is not there gives NONE, everything else that fails is `source-away`. */
  const reach = async <T, N>(action: string, none: N, act: () => Promise<T>): Promise<T | N> => {
    try {
      return await act()
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw away(action, error)
      await absent(action)
      return none
    }
  }

  return {
    label: `dir:${dir}`,
    get: (id) => reach('Read chunk', undefined, () => readFile(pathOf(id))),
    file: (id) => reach('Read chunk', undefined, () => open(pathOf(id))),
    has: (id) => reach('Look for chunk', false, async () => (await stat(pathOf(id))).isFile()),
    async put(id, stored) {
      try {
        writeSync(place, id, stored)
      } catch (error) {
        throw away('Write chunk', error)
      }
      pending.add(id)
    },
    async touch(id) {
      try {
        // an absent folder is absence too: then the object is written, and that says what is wrong
        const claimed = claimSync(place, id)
        if (claimed === 'recent') pending.add(id)
        return claimed !== 'absent'
      } catch (error) {
        throw away('Claim chunk', error)
      }
    },
    direct: { ...place, unflushed: pending.add },
    delete: (id) =>
      reach('Delete chunk', false, async () => {
        await unlink(pathOf(id))
        return true
      }),
    async deleteOlder(id, before) {
      // Moved aside first: a writer that touches it after the move finds it absent and writes it anew; one that
      // touched it before the move is seen in its time, and it is put back.
      const path = pathOf(id)
      const aside = temporaryPath(temporary)
      await mkdir(temporary, { recursive: true })
      return reach('Delete chunk', false, async () => {
        // whoever reads it meanwhile does not find it: so this is not done to what is spared anyway
        if ((await stat(path)).mtimeMs >= before) return false
        await rename(path, aside)
        const spared = (await stat(aside)).mtimeMs >= before
        // by its name, not by another link to it, which not every file system has; written anew meanwhile, it is the same
        await (spared ? rename(aside, path) : unlink(aside))
        return !spared
      })
    },
    async *list() {
      const shards = await readdir(dir).catch((error) => {
        throw away('List chunks', error)
      })
      for (const shard of shards.filter((s) => SHARD.test(s)).sort()) {
        const names = await readdir(join(dir, shard)).catch((error) => {
          throw away('List chunks', error)
        })
        for (const name of names.filter((n) => REST.test(n)).sort()) {
          const facts = await stat(join(dir, shard, name)).catch((error) => {
            if (codeOf(error) === 'ENOENT') return undefined // deleted meanwhile
            throw away('List chunks', error)
          })
          if (facts) yield { id: shard + name, bytes: facts.size, mtime: facts.mtimeMs } satisfies Stored
        }
      }
    },
    async flush() {
      try {
        await pending.flush()
      } catch (error) {
        throw away('Flush chunks', error)
      }
    },
  }
}
