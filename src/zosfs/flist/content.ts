import type { ChunkId, Store } from '#cas'
import { reasonOf, ZosError } from '#codec'
import { pathOf } from '../disk/path.ts'
import { BLOCK, type Entry, type Manifest } from '../types.ts'

export type FileEntry = Extract<Entry, { type: 'file' }>

/** The regular file at INDEX, through a hard link too; undefined for everything else. */
export function fileAt(manifest: Pick<Manifest, 'entries'>, index: number): FileEntry | undefined {
  const entry = manifest.entries[index]
  const own = entry?.type === 'hardlink' ? manifest.entries[entry.link] : entry
  return own?.type === 'file' ? own : undefined
}

/** Adds to an error of the store the file that could not be read. */
export function namingFile(error: unknown, path: string): unknown {
  if (!(error instanceof ZosError) || !error.code.startsWith('chunk-')) return error
  return new ZosError(`Read "${path}": ${reasonOf(error)}`, {
    code: error.code,
    kind: error.kind,
    details: { ...error.details, path },
    cause: error,
  })
}

export type GetChunk = (id: ChunkId) => Promise<Buffer>

/** Packs remembered while files are read in the order of the entries: directories within directories interleave. */
const REMEMBERED = 16

/** store.get that reads a pack once for all its neighbours. */
export function rememberingPacks(store: Store): GetChunk {
  const recent = new Map<string, Promise<Buffer>>()
  return (id) => {
    const key = id.toString('latin1')
    const bytes = recent.get(key) ?? store.get(id)
    recent.delete(key)
    recent.set(key, bytes)
    bytes.catch(() => recent.delete(key))
    if (recent.size > REMEMBERED) recent.delete(recent.keys().next().value!)
    return bytes
  }
}

/** Pieces of a file in order: its bytes, verified, and the lengths of holes. */
export async function* pieces(
  get: GetChunk,
  manifest: Manifest,
  index: number,
): AsyncGenerator<{ bytes: Buffer } | { hole: number }> {
  const file = fileAt(manifest, index)!
  const { content, size } = file
  try {
    if (content.kind === 'packed') {
      const pack = await get(manifest.packs[content.pack]!.id)
      yield { bytes: pack.subarray(content.block * BLOCK, content.block * BLOCK + size) }
    } else if (content.kind === 'chunks') {
      for (const [n, id] of content.chunks.entries()) {
        const length = Math.min(content.chunkSize, size - n * content.chunkSize)
        if (!id) yield { hole: length }
        else yield { bytes: exact(await get(id), length) }
      }
    }
  } catch (error) {
    throw namingFile(error, pathOf(manifest.entries, index))
  }
}

/** The id covers whole blocks, the manifest binds the length: they must agree. */
function exact(bytes: Buffer, length: number): Buffer {
  if (bytes.length !== Math.ceil(length / BLOCK) * BLOCK) {
    throw new ZosError(`Read chunk: it has ${bytes.length} bytes where ${length} belong`, {
      code: 'chunk-length',
      kind: 'node',
    })
  }
  return bytes.subarray(0, length)
}

/** LENGTH bytes of a file from AT on, fewer at its end; holes read as zeros. */
export async function readRange(
  store: Store,
  manifest: Manifest,
  index: number,
  at: number,
  length: number,
): Promise<Buffer> {
  const { content, size } = fileAt(manifest, index)!
  const end = Math.min(size, at + length)
  if (at >= end) return Buffer.alloc(0)
  try {
    if (content.kind === 'packed') {
      const start = content.block * BLOCK
      return (await store.get(manifest.packs[content.pack]!.id)).subarray(start + at, start + end)
    }
    if (content.kind === 'empty') return Buffer.alloc(0)
    const parts: Buffer[] = []
    for (let n = Math.floor(at / content.chunkSize); n * content.chunkSize < end; n++) {
      const from = n * content.chunkSize
      const whole = Math.min(content.chunkSize, size - from)
      const id = content.chunks[n]
      const bytes = id ? exact(await store.get(id), whole) : Buffer.alloc(whole)
      parts.push(bytes.subarray(Math.max(0, at - from), Math.min(whole, end - from)))
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  } catch (error) {
    throw namingFile(error, pathOf(manifest.entries, index))
  }
}
