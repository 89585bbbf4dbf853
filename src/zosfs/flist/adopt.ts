import { announceWriting, type ChunkBackend, homeOf, type Opened } from '#cas'
import { ZosError } from '#codec'
import { decodeManifest } from './decode.ts'
import { signingKey } from './keys.ts'
import type { Library } from './library.ts'
import { chunkIds } from './load.ts'
import type { Published, PublishOptions } from './publish.ts'
import { signManifest } from './signature.ts'
import { checkTagName, writeTag } from './tag.ts'

/** Objects on their way at once. */
const AT_ONCE = 8
const REPORT_EVERY = 100

/**
 * Brings the image whose manifest is DIGEST from SOURCE into the library, each object checked, and gives it the name TAG, signed by
 * this home: for whoever knows by other means that the digest is right. What is here already is not fetched; broken off, it goes on
 * where it ended. `chunk-missing` and `chunk-corrupt` name what the source lacks or has wrong.
 */
export async function adopt(
  library: Library,
  source: ChunkBackend,
  digest: string,
  tag: string,
  options: PublishOptions = {},
): Promise<Published> {
  const begun = performance.now()
  checkTagName(tag)
  const { store } = library
  const home = homeOf(store)
  using _writing = announceWriting(home)

  const fetched = async (id: string): Promise<{ stored: Buffer; opened: Extract<Opened, { ok: true }> }> => {
    const stored = await source.get(id)
    const opened = stored && (await store.workers.open(id, stored))
    if (stored && opened?.ok) return { stored, opened }
    const reason = opened ? 'its bytes are damaged there' : 'it is not there'
    throw new ZosError(`Fetch "${id}" from "${source.label}": ${reason}`, {
      code: opened ? 'chunk-corrupt' : 'chunk-missing',
      kind: 'node',
      details: { id },
    })
  }
  const top = await fetched(digest)
  const { manifest, fingerprints } = decodeManifest(top.opened.plain)
  const files = manifest.entries.flatMap((e) => (e.type === 'file' ? [e.size] : []))
  const ids = new Set([digest, fingerprints.toString('hex')])
  for (const id of chunkIds(manifest)) ids.add(id.toString('hex'))

  const done = { chunks: 0, newChunks: 0, newBytes: 0 }
  let reported = 0
  const bring = async (id: string) => {
    options.signal?.throwIfAborted()
    if (!(await home.touch(id))) {
      const { stored } = id === digest ? top : await fetched(id)
      await home.put(id, stored)
      done.newChunks++
      done.newBytes += stored.length
    }
    done.chunks++
    if (!options.onProgress || performance.now() - reported < REPORT_EVERY) return
    reported = performance.now()
    const { newBytes } = done
    options.onProgress({ phase: 'pull', bytes: newBytes, totalBytes: undefined, files: files.length, newBytes })
  }
  const rest = ids.values()
  const work = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await bring(next.value)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  await store.flush()

  const key = await signingKey(library.home)
  const root = manifest.disk.root.toString('hex')
  const size = files.reduce((sum, n) => sum + n, 0)
  await signManifest(library, key, digest)
  await writeTag(library, key, { name: tag, digest, root, size })
  const seconds = (performance.now() - begun) / 1000
  return { name: tag, digest, root, size, files: files.length, manifestBytes: top.stored.length, ...done, seconds }
}
