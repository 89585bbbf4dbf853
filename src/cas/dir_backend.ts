import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rename, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { syncDirectory } from '#sys'
import type { ChunkBackend, Stored } from './backend.ts'

const SHARD = /^[0-9a-f]{2}$/
const REST = /^[0-9a-f]{62}$/

/** Files flushed at a time: enough for the disk to merge them, few enough not to starve the thread pool. */
const FLUSH_AT_ONCE = 4

/** Older files are on the disk by themselves (Linux writes back after 30 s): claiming one needs no flush. Milliseconds. */
const WRITTEN_BACK = 300_000

/**
 * One plain file per object: `DIR/ab/cdef…`. Half-written files are in TEMPORARY, which must be on the same file
 * system; below DIR there is nothing else.
 */
export function dirBackend(dir: string, options: { temporary: string }): ChunkBackend {
  const { temporary } = options
  const unflushed = new Set<string>()
  const pathOf = (id: string) => join(dir, id.slice(0, 2), id.slice(2))
  const temporaryPath = () => join(temporary, randomBytes(12).toString('hex'))

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
    has: (id) => reach('Look for chunk', false, async () => (await stat(pathOf(id))).isFile()),
    async put(id, stored) {
      const path = pathOf(id)
      const half = temporaryPath()
      try {
        await writeFile(half, stored, { flag: 'wx' }).catch(async (error) => {
          if (codeOf(error) !== 'ENOENT') throw error
          await mkdir(temporary, { recursive: true })
          await writeFile(half, stored, { flag: 'wx' })
        })
        await rename(half, path).catch(async (error) => {
          if (codeOf(error) !== 'ENOENT') throw error
          await mkdir(dirname(path), { recursive: true })
          await rename(half, path)
        })
      } catch (error) {
        await rm(half, { force: true })
        throw away('Write chunk', error)
      }
      unflushed.add(id)
    },
    async touch(id) {
      try {
        const { size, mtimeMs } = await stat(pathOf(id))
        if (size === 0) return false // cut off by a power failure: no object is empty
        if (Date.now() - mtimeMs < WRITTEN_BACK) unflushed.add(id)
        await utimes(pathOf(id), new Date(), new Date())
        return true
      } catch (error) {
        // also in a folder not made yet: then it is written, and that says what is wrong
        if (codeOf(error) === 'ENOENT') return false
        throw away('Claim chunk', error)
      }
    },
    delete: (id) =>
      reach('Delete chunk', false, async () => {
        await unlink(pathOf(id))
        return true
      }),
    async deleteOlder(id, before) {
      // Moved aside first: a writer that touches it after the move finds it absent and writes it anew; one that
      // touched it before the move is seen in its time, and it is put back.
      const path = pathOf(id)
      const aside = temporaryPath()
      await mkdir(temporary, { recursive: true })
      return reach('Delete chunk', false, async () => {
        await rename(path, aside)
        const spared = (await stat(aside)).mtimeMs > before
        if (spared) await link(aside, path).catch(() => {}) // EEXIST: written anew meanwhile
        await unlink(aside)
        return !spared
      })
    },
    async *list() {
      const shards = await readdir(dir).catch((error) => {
        throw away('List chunks', error)
      })
      for (const shard of shards.filter((s) => SHARD.test(s)).sort()) {
        const names = await readdir(join(dir, shard))
        for (const name of names.filter((n) => REST.test(n)).sort()) {
          const facts = await stat(join(dir, shard, name)).catch(() => undefined)
          if (facts) yield { id: shard + name, bytes: facts.size, mtime: facts.mtimeMs } satisfies Stored
        }
      }
    },
    async flush() {
      const ids = [...unflushed]
      unflushed.clear()
      const sync = async (paths: string[], act: (path: string) => Promise<void>) => {
        const queue = paths.values()
        await Promise.all(
          Array.from({ length: FLUSH_AT_ONCE }, async () => {
            for (const path of queue) await act(path)
          }),
        )
      }
      try {
        await sync(ids.map(pathOf), async (path) => {
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
        const shards = [...new Set(ids.map((id) => dirname(pathOf(id))))]
        if (shards.length > 0) await sync([...shards, dir], syncDirectory)
      } catch (error) {
        for (const id of ids) unflushed.add(id)
        throw away('Flush chunks', error)
      }
    },
  }
}
