import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { announceWriting, homeOf } from '#cas'
import { sha256Hex, ZosError } from '#codec'
import { tryLock } from '#sys'
import { finishTree } from '../import/canonical.ts'
import { importDirectory } from '../import/dir.ts'
import { type Image, importLayers, readImage } from '../import/layout.ts'
import { pullImage } from '../import/pull.ts'
import { openSink, type Sink } from '../import/sink.ts'
import { parseSource, type Source } from '../import/source.ts'
import { openSpool } from '../import/spool.ts'
import { bytesOfFolder, WORTH_KNOWING } from '../import/total.ts'
import type { Tree } from '../import/tree.ts'
import type { ChunkId, Manifest } from '../types.ts'
import { startClosure } from './closure.ts'
import { processOf } from './config.ts'
import { readRange } from './content.ts'
import { diskFacts } from './disk_facts.ts'
import { encodeManifest } from './encode.ts'
import { signingKey } from './keys.ts'
import type { Library } from './library.ts'
import { signManifest } from './signature.ts'
import { checkTagName, writeTag } from './tag.ts'

export type Progress = {
  /** `pull` fetches an image, `import` reads it, `store` makes it last. */
  phase: 'pull' | 'import' | 'store'
  /** Bytes done in this phase, of a total where it is known. */
  bytes: number
  totalBytes: number | undefined
  files: number
  /** Stored bytes that were not there before. */
  newBytes: number
}

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

const GO_ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' }

/** Progress reports are at least this far apart. Milliseconds. */
const REPORT_EVERY = 100

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
  await sweepTemporary(join(library.home, 'tmp'))
  using spool = openSpool(join(library.home, 'tmp'))
  const progress: Progress = { phase: 'import', bytes: 0, totalBytes: undefined, files: 0, newBytes: 0 }
  let reported = 0
  const report = (force = false) => {
    if (!options.onProgress || (!force && performance.now() - reported < REPORT_EVERY)) return
    reported = performance.now()
    options.onProgress({ ...progress, files: sink.tally.files, newBytes: sink.tally.newBytes })
  }
  const fromDirectory = parsed.kind === 'directory'
  const onPut = () => {
    // a layer's bytes are counted as they are read, before anything is unpacked
    if (fromDirectory && progress.phase === 'import') progress.bytes = sink.tally.bytes
    report()
  }
  const sink: Sink = openSink(store, spool, { onPut, ...(options.signal ? { signal: options.signal } : {}) })
  const enter = (phase: Progress['phase'], totalBytes?: number) => {
    Object.assign(progress, { phase, bytes: 0, totalBytes })
    report(true)
  }

  const { tree, image } = await readSource(library, parsed, sink, options, { progress, enter, report, onPut })
  const { entries, packs } = await finishTree(tree, sink)
  enter('store')
  // the disk writes what there is while the rest is computed
  const contentLasts = store.flush()
  contentLasts.catch(() => {}) // told below, unless something else fails first
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
    entries,
    packs,
    config: image?.config ?? Buffer.from('{}'),
    layers: image?.layers ?? [],
    disk: await diskFacts({ entries, packs }, (id) => sink.leaves.get(id.toString('latin1'))!, put),
    startClosure: [],
  }
  const start = processOf(manifest.config)
  if (start)
    manifest.startClosure = await startClosure(
      manifest,
      (n, at, length) => readRange(store, manifest, n, at, length),
      start,
    )
  const { bytes, fingerprints } = encodeManifest(manifest)
  const blobs = [await store.putBlob(bytes), await store.putBlob(fingerprints)]
  await contentLasts
  await store.flush()
  options.signal?.throwIfAborted()

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

/** What a killed process left is kept this long, so that its next attempt can go on from there. Milliseconds. */
const LEFTOVERS = 24 * 3600_000

/** Removes half-written objects and pulls that nobody came back for. */
async function sweepTemporary(dir: string): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    if (!/^([0-9a-f]{24}|pull-[0-9a-f]{16})$/.test(name)) continue
    const facts = await stat(join(dir, name)).catch(() => undefined)
    if (facts && Date.now() - facts.mtimeMs > LEFTOVERS) await rm(join(dir, name), { recursive: true, force: true })
  }
}

/**
 * A folder below DIR to pull WHAT into, this publish's alone until it is disposed of. It is the same one each time, so that what a
 * killed pull left there is not fetched again, unless another publish is at it.
 */
function pullFolder(dir: string, what: string): Disposable & { path: string } {
  const claim = (name: string) => {
    const path = join(dir, `pull-${name}`)
    mkdirSync(path, { recursive: true })
    const fd = openSync(path, 'r')
    // another publish may have removed it between the two
    if (tryLock(fd) && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino)
      return { path, [Symbol.dispose]: () => closeSync(fd) }
    closeSync(fd)
    return undefined
  }
  return claim(sha256Hex(Buffer.from(what)).slice(0, 16)) ?? claim(randomBytes(8).toString('hex'))!
}

type Reporting = {
  progress: Progress
  enter: (phase: Progress['phase'], totalBytes?: number) => void
  report: (force?: boolean) => void
  onPut: () => void
}

async function readSource(
  library: Library,
  source: Source,
  sink: Sink,
  options: PublishOptions,
  { progress, enter, report, onPut }: Reporting,
): Promise<{ tree: Tree; image?: Image }> {
  if (source.kind === 'directory') {
    enter('import')
    const counting = new AbortController()
    const timer = setTimeout(async () => {
      progress.totalBytes = await bytesOfFolder(source.path, counting.signal)
    }, WORTH_KNOWING)
    try {
      return { tree: await importDirectory(source.path, sink, onPut) }
    } finally {
      clearTimeout(timer)
      counting.abort()
    }
  }
  const architecture = options.architecture ?? GO_ARCHITECTURES[process.arch]
  if (!architecture)
    throw new ZosError(`Publish: no images exist for "${process.arch}"`, { code: 'foreign-architecture' })
  using pull = pullFolder(join(library.home, 'tmp'), `${architecture} ${source.name}`)
  const layout = pull.path
  try {
    enter('pull')
    const config = await pullImage(source, layout, {
      architecture,
      ...(options.signal ? { signal: options.signal } : {}),
      onBytes: (bytes, totalBytes) => {
        Object.assign(progress, { bytes, totalBytes })
        report()
      },
    })
    const image = await readImage(layout, architecture, config)
    enter(
      'import',
      image.layers.reduce((sum, { size }) => sum + size, 0),
    )
    const tree = await importLayers(layout, image, sink, (count) => {
      progress.bytes += count
      report()
    })
    return { tree, image }
  } finally {
    if (!options.signal?.aborted) await rm(layout, { recursive: true, force: true })
  }
}
