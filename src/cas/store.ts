import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ZosError } from '#codec'
import type { ChunkBackend } from './backend.ts'
import type { ChunkId } from './chunk.ts'
import { dirBackend } from './dir_backend.ts'
import { objectPath } from './dir_sync.ts'
import { type Limiter, limiter } from './limit.ts'
import { merged } from './merged.ts'
import { type Putter, putter } from './put.ts'
import type { Kind, Opened } from './stored.ts'
import { startWorkers, type Workers } from './workers.ts'

export type StoreOptions = {
  /** The local folder of objects (`$ZOS_HOME/cas`); made when missing. */
  dir: string
  /** Half-written files; same file system as DIR, outside it. Default: `tmp` beside it. */
  temporary?: string
  /** Where published content goes and missing content comes from. Without one DIR is the store itself. */
  hub?: ChunkBackend
  /** Bytes DIR may hold when there is a hub; the longest unused go first. Default: no limit. */
  limit?: number
  /** Worker threads, or how many to start. Default 2. */
  workers?: Workers | number
}

/** Since the store was opened. */
export type Counters = {
  fetched: number
  fetchedBytes: number
  /** Damaged local copies replaced from the hub. */
  healed: number
  evicted: number
}

export type Store = AsyncDisposable &
  Putter & {
    readonly dir: string
    readonly local: ChunkBackend
    readonly hub: ChunkBackend | undefined
    readonly workers: Workers
    readonly counters: Readonly<Counters>
    /**
     * A chunk's verified plaintext, whole 4 KiB blocks; a damaged local copy is replaced from the hub.
     * ZosError `chunk-corrupt` {id, found, where}, `chunk-missing` {id}, or `source-away`: ask again later.
     */
    get(id: ChunkId): Promise<Buffer>
    /** The same for a blob (a manifest), whose id is the SHA-256 of its bytes. */
    getBlob(id: Buffer): Promise<Buffer>
    /** True when it is here without asking the hub; says nothing about its health. */
    hasLocal(id: ChunkId): Promise<boolean>
    /** Everything put so far survives a power cut. Call once, before the tag is written. */
    flush(): Promise<void>
    /** These ids are neither evicted nor collected until the returned function is called. */
    pin(ids: Iterable<ChunkId>): () => void
    isPinned(id: string): boolean
  }

/** Where an object is kept for good: the hub if there is one. */
export const homeOf = (store: Store): ChunkBackend => store.hub ?? store.local

export function openStore(options: StoreOptions): Store {
  const { dir, hub } = options
  const local = dirBackend(dir, { temporary: options.temporary ?? join(dirname(dir), 'tmp') })
  mkdirSync(dir, { recursive: true }) // so that an absent folder never looks like a disk gone
  const workers = typeof options.workers === 'object' ? options.workers : startWorkers(options.workers)
  const counters: Counters = { fetched: 0, fetchedBytes: 0, healed: 0, evicted: 0 }
  const pins = new Map<string, number>()
  const isPinned = (id: string) => pins.has(id)
  const limit: Limiter | undefined =
    hub && options.limit !== undefined
      ? limiter({ local, hub, limit: options.limit, isPinned, onEvict: () => counters.evicted++ })
      : undefined

  const corrupt = (id: string, found: string, where: ChunkBackend, damagedHere: boolean): ZosError =>
    new ZosError(
      `Load "${id}" from "${where.label}": its bytes are damaged (found: ${found}); ` +
        (where === local ? 'publish its image again, or set ZOS_HUB to where a good copy is' : 'repair it at the hub'),
      {
        code: 'chunk-corrupt',
        kind: 'node',
        details: { id, found, where: where === local ? 'local' : 'hub', dir: where.label, damagedHere },
      },
    )

  /** Reads from the local folder, else (or when damaged) from the hub, keeping what the hub gave. */
  const load = async (id: string): Promise<Extract<Opened, { ok: true }>> => {
    const here = await workers.load(id, objectPath(dir, id)) // an unreadable local disk is a cache miss
    let damage: string | undefined
    if (here) {
      if (here.ok) {
        limit?.used(id, here.stored)
        return here
      }
      damage = here.found
      if (!hub) throw corrupt(id, damage, local, true)
    }
    const stored = await hub?.get(id)
    if (!stored) {
      if (damage !== undefined) throw corrupt(id, damage, local, true)
      throw new ZosError(
        `Load "${id}": it is not in "${(hub ?? local).label}"; publish its image again, or set ZOS_HUB to where it is`,
        { code: 'chunk-missing', kind: 'node', details: { id } },
      )
    }
    const opened = await workers.open(id, stored)
    if (!opened.ok) throw corrupt(id, opened.found, hub!, damage !== undefined)
    counters.fetched++
    counters.fetchedBytes += stored.length
    try {
      await local.put(id, stored)
      if (damage !== undefined) counters.healed++
      limit?.used(id, stored.length)
    } catch {
      // a full cache disk costs a second fetch, not the read
    }
    return opened
  }

  const loads = merged<Extract<Opened, { ok: true }>>()
  const getKind = async (kind: Kind, id: Buffer): Promise<Buffer> => {
    const hex = id.toString('hex')
    const opened = await loads(hex, () => load(hex))
    if (opened.kind !== kind) throw corrupt(hex, `a ${opened.kind}, not a ${kind}`, local, true)
    return opened.plain
  }

  return {
    dir,
    local,
    hub,
    workers,
    counters,
    get: (id) => getKind('chunk', id),
    getBlob: (id) => getKind('blob', id),
    ...putter({ local, hub, workers, limit }),
    hasLocal: (id) => local.has(id.toString('hex')).catch(() => false),
    flush: () => (hub ?? local).flush(), // beside a hub the local folder is a cache, which may lose
    pin(ids) {
      const mine = [...new Set([...ids].map((id) => id.toString('hex')))]
      for (const id of mine) pins.set(id, (pins.get(id) ?? 0) + 1)
      let held = true
      return () => {
        if (!held) return
        held = false
        for (const id of mine) {
          const left = pins.get(id)! - 1
          if (left > 0) pins.set(id, left)
          else pins.delete(id)
        }
      }
    },
    isPinned,
    async [Symbol.asyncDispose]() {
      if (typeof options.workers !== 'object') await workers.close()
    },
  }
}
