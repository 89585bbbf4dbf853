import { Worker } from 'node:worker_threads'
import { reasonOf, ZosError } from '#codec'
import { chunkIdOf, leafHashes } from './chunk.ts'
import type { Place } from './dir_sync.ts'
import type { Bytes, FilePart, Kept } from './keep.ts'
import type { Loaded } from './load.ts'
import { type Kind, type Opened, open, seal } from './stored.ts'

export type Hashed = { leaves: Buffer; id: Buffer }
export type Job =
  | { op: 'hash'; bytes: Uint8Array }
  | { op: 'seal'; kind: Kind; bytes: Uint8Array }
  | { op: 'open'; id: string; bytes: Uint8Array }
  | { op: 'load'; id: string; path: string }
  | { op: 'keep'; contents: readonly (Bytes | FilePart)[]; place: Place }
export type Reply = Hashed | Buffer | Opened | Loaded | Kept

type Waiting = { resolve: (reply: never) => void; reject: (error: unknown) => void }
type Thread = { worker: Worker; waiting: Map<number, Waiting> }

/** Hashing and zstd off the event loop. Threads start on first use and do not keep the process alive when idle. */
export type Workers = {
  hash(bytes: Buffer): Promise<Hashed>
  seal(kind: Kind, bytes: Buffer): Promise<Buffer>
  open(id: string, stored: Buffer): Promise<Opened>
  /** The stored object in the file PATH, read by the thread and checked against ID; undefined when it cannot be read. */
  load(id: string, path: string): Promise<Loaded | undefined>
  /** Whole puts into a folder. Bytes are handed over; files are read by the thread. */
  keep(contents: readonly (Bytes | FilePart)[], place: Place): Promise<Kept>
  close(): Promise<void>
}

/** Below this many bytes the work (≤ 60 µs) is about what the two messages cost: done at once, in place. */
const INLINE = 16 << 10

const view = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export function startWorkers(count = 2): Workers {
  const threads: Thread[] = []
  let ticket = 0

  const start = (): Thread => {
    const thread: Thread = {
      worker: new Worker(new URL('./worker.ts', import.meta.url), {
        // many short-lived buffers: collected seldom and all at once
        resourceLimits: { maxYoungGenerationSizeMb: 64 },
      }),
      waiting: new Map(),
    }
    thread.worker.on('message', ({ ticket, reply, error }) => {
      const { resolve, reject } = thread.waiting.get(ticket)!
      thread.waiting.delete(ticket)
      if (thread.waiting.size === 0) thread.worker.unref()
      if (error) reject(new ZosError(error.message, { code: error.code || 'worker-failed', kind: 'node' }))
      else resolve(reply as never)
    })
    const lost = (reason: string) => {
      if (threads.includes(thread)) threads.splice(threads.indexOf(thread), 1) // the next job starts a new one
      const error = new ZosError(`Hash or compress: ${reason}`, { code: 'worker-failed', kind: 'node' })
      for (const { reject } of thread.waiting.values()) reject(error)
      thread.waiting.clear()
    }
    thread.worker.on('error', (error) => lost(reasonOf(error)))
    thread.worker.on('exit', () => lost('the worker thread ended'))
    thread.worker.unref()
    threads.push(thread)
    return thread
  }

  const give = <T>(job: Job, handedOver: Uint8Array[]): Promise<T> => {
    let thread = threads.length < count ? undefined : threads[0]
    for (const other of threads) if (other.waiting.size < (thread?.waiting.size ?? 1)) thread = other
    const chosen = thread ?? start()
    const mine = ticket++
    return new Promise((resolve, reject) => {
      chosen.waiting.set(mine, { resolve, reject })
      chosen.worker.ref()
      chosen.worker.postMessage(
        { ticket: mine, job },
        handedOver.map((bytes) => bytes.buffer as ArrayBuffer),
      )
    })
  }
  /** A view would drag its whole ArrayBuffer along: one exact copy, handed over. */
  const giveCopy = <T>(make: (bytes: Uint8Array) => Job, of: Uint8Array): Promise<T> => {
    const bytes = new Uint8Array(of)
    return give<T>(make(bytes), [bytes])
  }

  return {
    async hash(bytes) {
      if (bytes.length <= INLINE) {
        const leaves = leafHashes(bytes)
        return { leaves, id: chunkIdOf(leaves) }
      }
      const { leaves, id } = await giveCopy<Hashed>((copy) => ({ op: 'hash', bytes: copy }), bytes)
      return { leaves: view(leaves), id: view(id) }
    },
    async seal(kind, bytes) {
      if (bytes.length <= INLINE) return seal(kind, bytes)
      return view(await giveCopy<Buffer>((copy) => ({ op: 'seal', kind, bytes: copy }), bytes))
    },
    async open(id, stored) {
      if (stored.length <= INLINE / 4) return open(id, stored)
      const opened = await giveCopy<Opened>((bytes) => ({ op: 'open', id, bytes }), stored)
      return opened.ok ? { ...opened, plain: view(opened.plain) } : opened
    },
    async load(id, path) {
      const loaded = await give<Loaded | undefined>({ op: 'load', id, path }, [])
      return loaded?.ok ? { ...loaded, plain: view(loaded.plain) } : loaded
    },
    async keep(contents, place) {
      const bytes = contents.flatMap((c) => ('bytes' in c ? c.bytes : []))
      const kept = await give<Kept>({ op: 'keep', contents, place }, bytes)
      return { ...kept, ids: view(kept.ids), leaves: view(kept.leaves) }
    },
    async close() {
      await Promise.all(threads.splice(0).map((t) => t.worker.terminate()))
    },
  }
}
