import type { ChunkId, Content, PutChunk, Store } from '#cas'
import { ZosError } from '#codec'
import { fsVerityDigest } from '../disk/verity.ts'
import { chunkSizeOf, LIMITS } from '../flist/layout.ts'
import { BLOCK } from '../types.ts'
import type { Spool } from './spool.ts'
import type { FileData } from './tree.ts'

/** Bytes that go to a thread in one message: what a message costs no longer counts. */
const BATCH = 1 << 20
/** Batches being hashed, compressed and written at a time: enough for two threads. */
const AT_ONCE = 6
/** Bytes of a file that one thread takes at a time: a whole number of chunks of either size. */
const PART = 4 << 20

export type Tally = { files: number; bytes: number; chunks: number; newChunks: number; newBytes: number }

/** Takes file contents in and gives back what the tree has to know of them. */
export type Sink = {
  readonly tally: Tally
  readonly spool: Spool
  /** Leaf hashes of every chunk put so far, by id (latin1): what the disk's verity tree is made of. */
  readonly leaves: Map<string, Buffer>
  /** Takes over one chunk's buffer; LEAVES when they are known already. Waits while too much is under way. */
  put(bytes: Buffer, done: (id: ChunkId, leaves: Buffer) => void, leaves?: Buffer): Promise<void>
  /** Takes in the file PATH of SIZE bytes, which is not packed; what is given back is complete once settled. */
  putFile(path: Buffer, size: number): Promise<FileData>
  /** Resolves when all chunks put so far are stored; throws the first failure. */
  settled(): Promise<void>
}

type Waiting = { content: Content; done: (ids: (ChunkId | undefined)[], leaves: Buffer) => void }

export function checkSize(size: number, path: string): void {
  if (size <= LIMITS.size) return
  throw new ZosError(`Import "${path}": ${size} bytes are more than a file may have`, {
    code: 'bad-entry',
    details: { path },
  })
}

export function openSink(store: Store, spool: Spool, options: { signal?: AbortSignal; onPut?: () => void } = {}): Sink {
  const tally: Tally = { files: 0, bytes: 0, chunks: 0, newChunks: 0, newBytes: 0 }
  const leavesOf = new Map<string, Buffer>()
  const running = new Set<Promise<void>>()
  const fresh = new Set<string>()
  let waiting: Waiting[] = []
  let waitingBytes = 0
  let failure: unknown
  const check = () => {
    if (failure !== undefined) throw failure
    options.signal?.throwIfAborted()
  }

  const count = ({ id, storedBytes }: PutChunk, leaves: Buffer) => {
    const key = id.toString('latin1')
    leavesOf.set(key, leaves)
    tally.chunks = leavesOf.size
    // two puts of one chunk at the same time are both told that it is new
    if (storedBytes === 0 || fresh.has(key)) return
    fresh.add(key)
    tally.newChunks++
    tally.newBytes += storedBytes
  }

  /** Hands what waits to the store. */
  const send = () => {
    const batch = waiting
    waiting = []
    waitingBytes = 0
    if (batch.length === 0) return
    const stored = store.putAll(batch.map(({ content }) => content)).then((all) => {
      for (const [n, { chunks, leaves }] of all.entries()) {
        const { content, done } = batch[n]!
        const step = 'chunkSize' in content ? leavesIn(content.chunkSize) : leaves.length
        chunks.forEach((chunk, k) => {
          if (chunk) count(chunk, leaves.subarray(k * step, (k + 1) * step))
        })
        done(
          chunks.map((chunk) => chunk?.id),
          leaves,
        )
      }
      options.onPut?.()
    })
    const mine = stored.catch((error) => {
      failure ??= error
    })
    running.add(mine)
    mine.finally(() => running.delete(mine))
  }

  const take = async (content: Content, bytes: number, done: Waiting['done']): Promise<void> => {
    check()
    waiting.push({ content, done })
    waitingBytes += bytes
    if (waitingBytes < BATCH) return
    while (running.size >= AT_ONCE) {
      await Promise.race(running)
      check()
    }
    send()
  }

  return {
    tally,
    spool,
    leaves: leavesOf,
    put: (bytes, done, known) => take({ bytes, known }, bytes.length, ([id], leaves) => done(id!, leaves)),
    async putFile(path, size) {
      checkSize(size, path.toString())
      tally.files++
      const chunkSize = chunkSizeOf(size)
      const chunks: (ChunkId | undefined)[] = new Array(Math.ceil(size / chunkSize))
      const all = Buffer.allocUnsafe(leavesIn(size))
      const data: FileData = { size, fingerprint: Buffer.alloc(0), content: { kind: 'chunks', chunks } }
      let left = Math.ceil(size / PART)
      for (let at = 0; at < size; at += PART) {
        const length = Math.min(PART, size - at)
        await take({ path, at, length, chunkSize }, length, (ids, leaves) => {
          ids.forEach((id, n) => {
            chunks[at / chunkSize + n] = id
          })
          all.set(leaves, leavesIn(at))
          if (--left === 0) data.fingerprint = fsVerityDigest(all, size)
        })
        tally.bytes += length
      }
      return data
    },
    async settled() {
      send()
      while (running.size > 0) await Promise.all(running)
      check()
    },
  }
}

/** Bytes of the leaf hashes of BYTES. */
const leavesIn = (bytes: number) => Math.ceil(bytes / BLOCK) * 32
