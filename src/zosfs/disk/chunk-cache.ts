import { codeOf } from '#codec'
import { sleep } from '#sys'
import type { ChunkId } from '../types.ts'

/** Where plaintext comes from: verified, whole blocks. What `openStore` of #cas returns is one. */
export type ChunkSource = { get(id: ChunkId): Promise<Buffer> }

export type ChunkCache = {
  /** The chunk when it is in memory. KEY is `keyOf(id)`. */
  peek(key: string): Buffer | undefined
  /**
   * The chunk, read once however many ask. While the source is away it waits and tries again until SIGNAL aborts;
   * throws the source's error otherwise (`chunk-corrupt`, `chunk-missing`). Failures are not remembered.
   */
  load(id: ChunkId, key: string, options?: { signal?: AbortSignal | undefined }): Promise<Buffer>
  /** Puts a verified chunk in, as if it had just been loaded, and gives it back. */
  keep(key: string, plain: Buffer): Buffer
  /** Drops what was not used for MS milliseconds. */
  trim(ms: number): void
  stat(): {
    bytes: number
    limit: number
    chunks: number
    hits: number
    loads: number
    loading: number
    waiting: number
  }
}

/** Ids as map keys: half the size of hex. */
export const keyOf = (id: ChunkId): string => id.toString('latin1')

const SLACK = 4096
const BACKOFF = [100, 200, 400, 800, 1600, 3000]

type Loading = { promise: Promise<Buffer>; askers: number; controller: AbortController }

/** Decoded chunks of SOURCE in memory, least recently used out first above LIMIT bytes; shared by all disks. */
export function chunkCache(source: ChunkSource, limit: number): ChunkCache {
  const kept = new Map<string, { plain: Buffer; used: number }>()
  const loading = new Map<string, Loading>()
  let bytes = 0
  let hits = 0
  let loads = 0
  let waiting = 0

  const keep = (key: string, given: Buffer): Buffer => {
    // a short view would hold on to all of the larger buffer that it was decoded into
    const plain = given.buffer.byteLength > given.length + SLACK ? Buffer.from(given) : given
    drop(key)
    kept.set(key, { plain, used: performance.now() })
    bytes += plain.length
    for (const oldest of kept.keys()) {
      if (bytes <= limit || oldest === key) break
      drop(oldest)
    }
    return plain
  }
  const drop = (key: string) => {
    bytes -= kept.get(key)?.plain.length ?? 0
    kept.delete(key)
  }

  const fetch = async (id: ChunkId, key: string, signal: AbortSignal): Promise<Buffer> => {
    for (let attempt = 0; ; attempt++) {
      try {
        const plain = await source.get(id)
        loads++
        return keep(key, plain)
      } catch (error) {
        if (codeOf(error) !== 'source-away') throw error
      }
      waiting++
      try {
        await sleep(BACKOFF[Math.min(attempt, BACKOFF.length - 1)]!, signal)
      } finally {
        waiting--
      }
    }
  }

  const start = (id: ChunkId, key: string): Loading => {
    const controller = new AbortController()
    const promise = fetch(id, key, controller.signal).finally(() => loading.delete(key))
    promise.catch(() => {}) // the last asker may have gone
    const entry = { promise, askers: 0, controller }
    loading.set(key, entry)
    return entry
  }

  return {
    peek(key) {
      const entry = kept.get(key)
      if (entry === undefined) return undefined
      hits++
      entry.used = performance.now()
      kept.delete(key)
      kept.set(key, entry)
      return entry.plain
    },
    load(id, key, { signal } = {}) {
      const known = kept.get(key)
      if (known) return Promise.resolve(known.plain)
      const running = loading.get(key)
      const entry = running && !running.controller.signal.aborted ? running : start(id, key)
      entry.askers++
      if (!signal) return entry.promise
      return new Promise((resolve, reject) => {
        const leave = () => {
          if (--entry.askers === 0) entry.controller.abort()
          reject(signal.reason)
        }
        if (signal.aborted) return leave()
        signal.addEventListener('abort', leave, { once: true })
        entry.promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
      })
    },
    keep,
    trim(ms) {
      const before = performance.now() - ms
      for (const [key, { used }] of kept) {
        if (used > before) break // in order of use
        drop(key)
      }
    },
    stat: () => ({ bytes, limit, chunks: kept.size, hits, loads, loading: loading.size, waiting }),
  }
}
