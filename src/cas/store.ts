import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOf, reasonOf, sha256, ZosError } from '#codec'
import type { ChunkBackend } from './backend.ts'
import { type ChunkId, chunkIdOf } from './chunk.ts'
import { dirBackend } from './dir_backend.ts'
import { type Limiter, limiter } from './limit.ts'
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

export type Put = { id: ChunkId; leaves: Buffer; isNew: boolean; storedBytes: number }

export type PutOptions = {
  /** The chunk's leaf hashes, where the caller has computed them already. */
  known?: Buffer
  /** The buffer has its ArrayBuffer to itself and is not used again: it is handed over instead of copied. */
  given?: boolean
}

/** Since the store was opened. */
export type Counters = {
  fetched: number
  fetchedBytes: number
  /** Damaged local copies replaced from the hub. */
  healed: number
  evicted: number
}

export type Store = AsyncDisposable & {
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
  /** Keeps the chunk whose bytes these are (at most CHUNK_LIMIT, zero-padded to blocks); durable after flush(). */
  put(plain: Buffer, options?: PutOptions): Promise<Put>
  putBlob(bytes: Buffer): Promise<Put>
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

/** Merges calls for one key while the first is under way. */
function merged<T>(): (key: string, act: () => Promise<T>) => Promise<T> {
  const running = new Map<string, Promise<T>>()
  return (key, act) => {
    const known = running.get(key)
    if (known) return known
    const mine = act().finally(() => running.delete(key))
    running.set(key, mine)
    return mine
  }
}

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
    const here = await local.get(id).catch(() => undefined) // an unreadable local disk is a cache miss
    let damage: string | undefined
    if (here) {
      const opened = await workers.open(id, here)
      if (opened.ok) {
        limit?.used(id, here.length)
        return opened
      }
      damage = opened.found
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

  const notStored = (cause: unknown): unknown => {
    const full = ['ENOSPC', 'EDQUOT'].includes(codeOf(cause))
    if (!full && !/^E[A-Z]+$/.test(codeOf(cause))) return cause
    const reason = full ? 'the disk is full; free space there or run "zos store gc"' : reasonOf(cause)
    return new ZosError(`Write chunk to "${(hub ?? local).label}": ${reason}`, {
      code: full ? 'store-full' : 'source-away',
      kind: 'node',
      cause,
    })
  }

  const puts = merged<{ isNew: boolean; storedBytes: number }>()
  const keep = (kind: Kind, id: string, plain: Buffer) =>
    puts(id, async () => {
      if (await (hub ?? local).touch(id)) return { isNew: false, storedBytes: 0 }
      const stored = await workers.seal(kind, plain)
      await (hub ?? local).put(id, stored)
      if (hub) {
        await local.put(id, stored)
        limit?.used(id, stored.length)
      }
      return { isNew: true, storedBytes: stored.length }
    })

  return {
    dir,
    local,
    hub,
    workers,
    counters,
    get: (id) => getKind('chunk', id),
    getBlob: (id) => getKind('blob', id),
    async put(plain, put = {}) {
      const places = (hub ? [hub, local] : [local]).flatMap((place) => place.direct ?? [])
      if (places.length === (hub ? 2 : 1)) {
        const bare = places.map(({ dir, temporary }) => ({ dir, temporary }))
        const { recent, ...kept } = await workers.keep(plain, bare, put).catch((error) => {
          throw notStored(error)
        })
        const id = kept.id.toString('hex')
        for (const place of kept.isNew ? places : places.slice(0, 1)) if (recent) place.unflushed(id)
        if (kept.isNew) limit?.used(id, kept.storedBytes)
        return kept
      }
      const { id, leaves } = put.known ? { id: chunkIdOf(put.known), leaves: put.known } : await workers.hash(plain)
      return { id, leaves, ...(await keep('chunk', id.toString('hex'), plain)) }
    },
    async putBlob(bytes) {
      const id = sha256(bytes)
      return { id, leaves: Buffer.alloc(0), ...(await keep('blob', id.toString('hex'), bytes)) }
    },
    hasLocal: (id) => local.has(id.toString('hex')).catch(() => false),
    async flush() {
      await hub?.flush()
      await local.flush()
    },
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
