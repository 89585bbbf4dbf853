import { open } from 'node:fs/promises'
import { codeOf, reasonOf, sha256, ZosError } from '#codec'
import type { ChunkBackend } from './backend.ts'
import { type ChunkId, chunkIdOf, isZero, zeroLeaf } from './chunk.ts'
import { type Bytes, type FilePart, leafBytes, sizeOf, sourceUnreadable } from './keep.ts'
import type { Limiter } from './limit.ts'
import { merged } from './merged.ts'
import type { Kind } from './stored.ts'
import type { Workers } from './workers.ts'

/** STOREDBYTES: 0 when it was there already. */
export type PutChunk = { id: ChunkId; storedBytes: number }
/** The chunks of one content in order; an undefined one is all zero and not kept. LEAVES: of all of them, joined. */
export type PutContent = { chunks: (PutChunk | undefined)[]; leaves: Buffer }
export type Content = Bytes | FilePart

export type Putter = {
  /** Keeps the chunk whose bytes these are (at most CHUNK_LIMIT, zero-padded to blocks); durable after flush(). */
  put(plain: Buffer): Promise<PutChunk & { leaves: Buffer }>
  /**
   * Keeps several contents in one go. Bytes must have their ArrayBuffer to themselves and are not to be used again:
   * they are handed over. `source-unreadable` when a file cannot be read to its part's end.
   */
  putAll(contents: readonly Content[]): Promise<PutContent[]>
  putBlob(bytes: Buffer): Promise<PutChunk>
}

/**
 * Keeps objects where they belong for good: at the hub if there is one. What goes to a hub far away is kept here too,
 * so that it need not come back; a hub that is a folder of this machine has it alone.
 */
export function putter(to: {
  local: ChunkBackend
  hub: ChunkBackend | undefined
  workers: Workers
  limit: Limiter | undefined
}): Putter {
  const { local, hub, workers, limit } = to
  const home = hub ?? local
  const { direct } = home

  /** A worker's error, of which only message and code come over. */
  const notStored = (cause: unknown): never => {
    const full = ['ENOSPC', 'EDQUOT'].includes(codeOf(cause))
    if (!full && !/^E[A-Z]+$/.test(codeOf(cause))) throw cause
    const reason = full ? 'the disk is full; free space there or run "zos store gc"' : reasonOf(cause)
    throw new ZosError(`Write chunk to "${home.label}": ${reason}`, {
      code: full ? 'store-full' : 'source-away',
      kind: 'node',
      cause,
    })
  }

  const puts = merged<number>()
  /** Gives the bytes it took. */
  const keep = (kind: Kind, id: string, plain: Buffer) =>
    puts(id, async () => {
      if (await home.touch(id)) return 0
      const stored = await workers.seal(kind, plain)
      await home.put(id, stored)
      if (hub && !direct) {
        await local.put(id, stored)
        limit?.used(id, stored.length)
      }
      return stored.length
    })

  const putBytes = async ({ bytes, known }: Bytes): Promise<PutContent> => {
    const { id, leaves } = known ? { id: chunkIdOf(known), leaves: known } : await workers.hash(bytes)
    return { chunks: [{ id, storedBytes: await keep('chunk', id.toString('hex'), bytes) }], leaves }
  }

  /** What a thread does for a folder, for a hub that is only spoken with. */
  const putPart = async (part: FilePart): Promise<PutContent> => {
    const parts: PutContent[] = []
    for await (const bytes of chunksOf(part)) {
      const zeros = { chunks: [undefined], leaves: Buffer.alloc(leafBytes(bytes.length), zeroLeaf) }
      parts.push(isZero(bytes) ? zeros : await putBytes({ bytes }))
    }
    return { chunks: parts.flatMap((p) => p.chunks), leaves: Buffer.concat(parts.map((p) => p.leaves)) }
  }

  const putAll = async (contents: readonly Content[]): Promise<PutContent[]> => {
    if (!direct) return Promise.all(contents.map((c) => ('bytes' in c ? putBytes(c) : putPart(c))))
    const place = { dir: direct.dir, temporary: direct.temporary }
    const sizes = contents.map((content) => leafBytes(sizeOf(content).length)) // now: bytes are handed over
    const { ids, leaves, stored, recent } = await workers.keep(contents, place).catch(notStored)
    const at = { id: 0, leaf: 0 }
    return sizes.map((size, n) => {
      const chunks = stored[n]!.map((storedBytes) => {
        const id = ids.subarray(at.id, at.id + 32)
        at.id += 32
        if (storedBytes === undefined) return undefined
        if (recent) direct.unflushed(id.toString('hex'))
        return { id, storedBytes }
      })
      const own = leaves.subarray(at.leaf, at.leaf + size)
      at.leaf += size
      return { chunks, leaves: own }
    })
  }

  return {
    putAll,
    async put(plain) {
      const [{ chunks, leaves }] = (await putAll([{ bytes: Buffer.from(new Uint8Array(plain).buffer) }])) as [
        PutContent,
      ]
      return { ...chunks[0]!, leaves }
    },
    async putBlob(bytes) {
      const id = sha256(bytes)
      return { id, storedBytes: await keep('blob', id.toString('hex'), bytes) }
    },
  }
}

async function* chunksOf({ path, at, length, chunkSize }: FilePart): AsyncGenerator<Buffer> {
  try {
    await using file = await open(Buffer.from(path))
    for (let done = 0; done < length; done += chunkSize) {
      const bytes = Buffer.allocUnsafeSlow(Math.min(chunkSize, length - done))
      for (let got = 0; got < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, got, bytes.length - got, at + done + got)
        if (bytesRead === 0) throw new Error(`it ends after ${at + done + got} bytes`)
        got += bytesRead
      }
      yield bytes
    }
  } catch (error) {
    throw sourceUnreadable(path, error)
  }
}
