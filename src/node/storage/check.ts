import type { Store } from '#cas'
import { codeOf, reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { type ChunkCache, type ChunkId, fileAt, keyOf, pathOf, readRange, type Start, startClosure } from '#zosfs'
import { each } from './each.ts'
import type { Image } from './images.ts'
import type { Verified } from './verified.ts'

export type Checked = { files: number; bytes: number; ms: number /** In the image. */; paths: string[] }

const AT_ONCE = 12
/** How long a start waits for a source that is away before it says so. */
const PATIENCE_MS = 30_000

/** Chunks of the file at INDEX. */
export function chunksOf({ manifest }: Image, index: number): ChunkId[] {
  const content = fileAt(manifest, index)?.content
  if (content?.kind === 'packed') return [manifest.packs[content.pack]!.id]
  return content?.kind === 'chunks' ? content.chunks.filter((id) => id !== undefined) : []
}

async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return await act()
    } catch (error) {
      if (codeOf(error) !== 'source-away' || performance.now() > end) throw error
    }
    await sleep(500)
  }
}

/** What the store said of a chunk, as what it means for the start. */
function refusal(error: unknown, path: string): unknown {
  if (!(error instanceof ZosError) || !error.code.startsWith('chunk-')) return error
  const { id, found, where } = error.details as { id?: string; found?: string; where?: string }
  const short = (text = 'nothing') => text.replace(/[0-9a-f]{64}/g, (digest) => `${digest.slice(0, 12)}…`)
  const hub = where === 'local' ? 'there is no good copy at a hub' : 'the hub has no good copy either'
  return new ZosError(
    `Start "${path}": it is not what was published: expected chunk ${short(id)}, found ${short(found)}; ${hub}: publish it again`,
    { code: 'launch-check', kind: 'node', details: { ...error.details, path, expected: id, found }, cause: error },
  )
}

/**
 * Loads every chunk of what START needs (default: the published process) from the disk, or the hub where that is
 * missing or damaged, and verifies it. A copy in memory, verified when it was loaded and what will be served, is an
 * answer only while its file on the disk is untouched since.
 * Throws `launch-check` {path, expected, found}; `source-away` when nobody could be asked for long.
 */
export async function launchCheck(
  at: { store: Store; cache: ChunkCache; verified: Verified },
  image: Image,
  start?: Start,
): Promise<Checked> {
  const { store, cache, verified } = at
  const begun = performance.now()
  const { manifest } = image
  // many small reads of the same chunks find out what is needed; what they find is verified below all the same
  const get = async (id: ChunkId) => {
    const plain = cache.peek(keyOf(id)) ?? (await patiently(() => store.get(id)))
    cache.keep(keyOf(id), plain)
    return plain
  }
  const cached = { ...store, get }
  const read = async (index: number, at: number, length: number) => {
    try {
      return await readRange(cached, manifest, index, at, length)
    } catch (error) {
      throw refusal(error, pathOf(manifest.entries, index))
    }
  }
  const files = start ? await startClosure(manifest, read, start) : manifest.startClosure
  const wanted = new Map<string, { id: ChunkId; file: number }>()
  for (const file of files) for (const id of chunksOf(image, file)) wanted.set(keyOf(id), { id, file })
  let bytes = 0
  await each(wanted, AT_ONCE, async ([key, { id, file }]) => {
    const hex = id.toString('hex')
    try {
      const known = (await verified.isSame(hex)) ? cache.peek(key) : undefined
      if (known) bytes += known.length
      else
        await verified.note(hex, async () => {
          const plain = await patiently(() => store.get(id))
          cache.keep(key, plain)
          bytes += plain.length
        })
    } catch (error) {
      throw refusal(error, pathOf(manifest.entries, file))
    }
  })
  const paths = files.map((n) => pathOf(manifest.entries, n))
  return { files: files.length, bytes, ms: performance.now() - begun, paths }
}

/** The first few paths that the chunk of extent ID is part of, for logs. */
function filesWith(image: Image, id: ChunkId): string[] {
  const paths: string[] = []
  image.manifest.entries.forEach((entry, n) => {
    if (paths.length < 5 && entry.type === 'file' && chunksOf(image, n).some((c) => c.equals(id))) {
      paths.push(pathOf(image.manifest.entries, n))
    }
  })
  return paths
}

export const describe = (error: unknown, image: Image | undefined): string => {
  const id = error instanceof ZosError ? error.details.id : undefined
  if (!image || typeof id !== 'string') return reasonOf(error)
  const paths = filesWith(image, Buffer.from(id, 'hex'))
  return `${paths.length > 0 ? paths.map((p) => `"${p}"`).join(', ') : 'file system data'}: ${reasonOf(error)}`
}
