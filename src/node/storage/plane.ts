import { mkdirSync, statfsSync } from 'node:fs'
import { totalmem } from 'node:os'
import { ZosError } from '#codec'
import { chunkCache, openLibrary } from '#zosfs'
import { type Export, openExport, type Plane } from './export.ts'
import { openFiller } from './fill.ts'
import { type IdleOptions, startIdleWork } from './idle.ts'
import { openImages } from './images.ts'
import { openTraces } from './trace.ts'
import { verifiedFiles } from './verified.ts'

export type StoragePlane = AsyncDisposable &
  Plane & {
    exports: ReadonlyMap<string, Export>
    /** Makes the export or finds it made; the same call again changes nothing. */
    put(id: string, at: { socket: string; uid?: number; gid?: number }): Promise<void>
    /** The export, or `no-export`. */
    find(id: string): Export
    remove(id: string): Promise<void>
  }

/** Decoded chunks in memory, for all exports together: a sixteenth of the machine's memory, within bounds. */
const CACHE_BYTES = Math.min(1 << 30, Math.max(64 << 20, totalmem() / 16))
/** What nobody read for this long leaves the memory; reading it again costs a load and a check. Milliseconds. */
const IDLE_MS = 300_000

/** The storage plane of a home: its library, one cache, and an export per machine. */
export function openPlane(options: {
  home: string
  hub?: string | undefined
  cacheBytes?: number
  idle?: IdleOptions
  log: (line: string) => void
}): StoragePlane {
  mkdirSync(options.home, { recursive: true, mode: 0o700 })
  const { blocks, bsize } = statfsSync(options.home)
  // beside a hub the chunks here are a cache: at most half of its disk, the longest unused go first
  const library = openLibrary({ home: options.home, hub: options.hub, limit: (blocks * bsize) / 2 })
  const cache = chunkCache(library.store, options.cacheBytes ?? CACHE_BYTES)
  const plane: Plane = {
    library,
    cache,
    images: openImages(library, cache),
    traces: openTraces(`${options.home}/traces`, library.hubHints),
    filler: openFiller(library.store, () => cache.stat().loading),
    verified: verifiedFiles(library.store.dir),
    log: options.log,
  }
  const trimming = setInterval(() => cache.trim(IDLE_MS), IDLE_MS / 5)
  trimming.unref()
  const exports = new Map<string, Export>()
  const asked = () => [...exports.values()].reduce((sum, e) => sum + e.requests(), cache.stat().loads)
  const idle = startIdleWork(library, asked, options.log, options.idle)
  // calls for one export, one after the other
  const turns = new Map<string, Promise<unknown>>()
  const inTurn = <T>(id: string, act: () => Promise<T>): Promise<T> => {
    const mine = (turns.get(id) ?? Promise.resolve()).then(act, act)
    turns.set(id, mine)
    mine.finally(() => turns.get(id) === mine && turns.delete(id)).catch(() => {})
    return mine
  }

  return {
    ...plane,
    exports,
    put: (id, at) =>
      inTurn(id, async () => {
        const owner = at.uid === undefined ? {} : { uid: at.uid, gid: at.gid ?? at.uid }
        const known = exports.get(id)
        const { socket, uid, gid } = known?.options ?? {}
        if (socket === at.socket && uid === owner.uid && gid === owner.gid) return
        exports.delete(id)
        await known?.[Symbol.asyncDispose]()
        exports.set(id, await openExport(plane, { name: id, socket: at.socket, ...owner }))
      }),
    find(id) {
      const found = exports.get(id)
      if (!found) throw new ZosError(`Use export "${id}": there is none of that name`, { code: 'no-export' })
      return found
    },
    remove: (id) =>
      inTurn(id, async () => {
        const found = exports.get(id)
        exports.delete(id)
        await found?.[Symbol.asyncDispose]()
      }),
    async [Symbol.asyncDispose]() {
      clearInterval(trimming)
      idle[Symbol.dispose]()
      await Promise.all([...exports.values()].map((e) => e[Symbol.asyncDispose]()))
      exports.clear()
      await library[Symbol.asyncDispose]()
    },
  }
}
