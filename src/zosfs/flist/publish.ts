import { join } from 'node:path'
import { announceWriting, homeOf, type Store } from '#cas'
import { sha256Hex } from '#codec'
import { finishTree } from '../import/canonical.ts'
import type { Image } from '../import/layout.ts'
import { openSink, type Sink } from '../import/sink.ts'
import { parseSource } from '../import/source.ts'
import { openSpool } from '../import/spool.ts'
import type { ChunkId, Manifest } from '../types.ts'
import { startClosure } from './closure.ts'
import { processOf } from './config.ts'
import { readRange } from './content.ts'
import { diskFacts } from './disk_facts.ts'
import { encodeManifest } from './encode.ts'
import { signingKey } from './keys.ts'
import type { Library } from './library.ts'
import { type Progress, reporting } from './progress.ts'
import { readSource } from './read_source.ts'
import { signManifest } from './signature.ts'
import { checkTagName, writeTag } from './tag.ts'
import { sweepTemporary } from './temporary.ts'

export type Published = {
  name: string
  /** SHA-256 of the manifest's canonical bytes. */
  digest: string
  /** dm-verity root of the tree. */
  root: string
  /** Bytes of file content. */
  size: number
  files: number
  /** Bytes the manifest takes as stored, without the fingerprints. */
  manifestBytes: number
  chunks: number
  newChunks: number
  newBytes: number
  seconds: number
}

export type PublishOptions = {
  /** Called at most every 100 ms. */
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
  /** Go's name of the architecture an image must be for. Default: this machine's. */
  architecture?: string
}

/**
 * Reads SOURCE into the library, signs it and gives it the name TAG: the tag is written last, when all it names is
 * durable. After a failure nothing is left but chunks nobody names, which a later attempt finds again and a collection
 * removes; after an interruption (signal, kill) also the image blobs already fetched.
 */
export async function publish(
  library: Library,
  source: string,
  tag: string,
  options: PublishOptions = {},
): Promise<Published> {
  const begun = performance.now()
  checkTagName(tag)
  const parsed = parseSource(source)
  const { store } = library
  using _writing = announceWriting(homeOf(store))
  const temporary = join(library.home, 'tmp')
  await sweepTemporary(temporary)
  using spool = openSpool(temporary)
  const { onProgress, signal, architecture } = options
  const progress = reporting(onProgress, () => sink.tally)
  const onPut = () => {
    // an image's bytes are counted as its layers are read, before anything is unpacked
    if (parsed.kind === 'directory' && progress.phase === 'import') progress.at(sink.tally.bytes)
    else progress.report()
  }
  const sink: Sink = openSink(store, spool, { onPut, ...(signal ? { signal } : {}) })

  const { tree, image } = await readSource(parsed, sink, progress, { temporary, architecture, signal })
  const { entries, packs } = await finishTree(tree, sink)
  progress.enter('store')
  // the disk writes what there is while the rest is computed
  const contentLasts = store.flush()
  contentLasts.catch(() => {}) // told below, unless something else fails first
  const manifest = await manifestOf(store, sink, { entries, packs }, image)
  const { bytes, fingerprints } = encodeManifest(manifest)
  const blobs = [await store.putBlob(bytes), await store.putBlob(fingerprints)]
  await contentLasts
  await store.flush()
  signal?.throwIfAborted()

  const key = await signingKey(library.home)
  const digest = sha256Hex(bytes)
  const root = manifest.disk.root.toString('hex')
  const size = entries.reduce((sum, e) => sum + (e.type === 'file' ? e.size : 0), 0)
  await signManifest(library, key, digest)
  await writeTag(library, key, { name: tag, digest, root, size })
  return {
    name: tag,
    digest,
    root,
    size,
    files: entries.length,
    manifestBytes: (await homeOf(store).get(digest))?.length ?? 0,
    chunks: sink.tally.chunks,
    newChunks: sink.tally.newChunks,
    newBytes: sink.tally.newBytes + blobs.reduce((sum, blob) => sum + blob.storedBytes, 0),
    seconds: (performance.now() - begun) / 1000,
  }
}

/** The manifest of TREE, whose contents are in SINK: its disk's root, and what must be whole before its process starts. */
async function manifestOf(
  store: Store,
  sink: Sink,
  tree: Pick<Manifest, 'entries' | 'packs'>,
  image: Image | undefined,
): Promise<Manifest> {
  const put = async (bytes: Buffer): Promise<ChunkId> => {
    let id: ChunkId | undefined
    await sink.put(bytes, (found) => {
      id = found
    })
    await sink.settled()
    return id!
  }
  const manifest: Manifest = {
    synthesiser: 2,
    ...tree,
    config: image?.config ?? Buffer.from('{}'),
    layers: image?.layers ?? [],
    disk: await diskFacts(tree, (id) => sink.leaves.get(id.toString('latin1'))!, put),
    startClosure: [],
  }
  const start = processOf(manifest.config)
  const read = (n: number, at: number, length: number) => readRange(store, manifest, n, at, length)
  if (start) manifest.startClosure = await startClosure(manifest, read, start)
  return manifest
}
