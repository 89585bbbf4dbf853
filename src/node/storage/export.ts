import { codeOf, reasonOf, ZosError } from '#codec'
import { type ChunkCache, type ExportOptions, type Library, type Start, serveNbd } from '#zosfs'
import { type Checked, describe, launchCheck } from './check.ts'
import type { Fill, Filler } from './fill.ts'
import type { Image, Images } from './images.ts'
import { closureChunks, prefetch, tracedChunks } from './prefetch.ts'
import { recordTouches, type Touches } from './touch.ts'
import type { Traces } from './trace.ts'
import type { Verified } from './verified.ts'

export type Plane = {
  library: Library
  cache: ChunkCache
  images: Images
  traces: Traces
  filler: Filler
  verified: Verified
  log: (line: string) => void
}

export type Binding = {
  root: string
  dataBlocks: number
  hashStart: number
  config: unknown
  size: number
  files: number
}

export type Export = {
  readonly options: ExportOptions
  bind(digest: string): Promise<Binding>
  check(start?: Start): Promise<Checked>
  /** The start is over: a little later what it touched is kept for the next one, and the rest is filled in. */
  ready(): void
  /** Reads so far. */
  requests(): number
  stat(): Record<string, unknown>
  [Symbol.asyncDispose](): Promise<void>
}

/** What is touched within this time after `ready` still belongs to the start. Milliseconds. */
const SETTLE_MS = 3000
/** One that nobody calls ready, as after a restart of this process, is filled when it has been bound this long. */
const FILL_AFTER_MS = 30_000

/** A timer that keeps no process alive. */
const later = (ms: number, act: () => void) => setTimeout(act, ms).unref()

export const bindingOf = ({ manifest, config, size, files }: Image): Binding => ({
  root: manifest.disk.root.toString('hex'),
  dataBlocks: manifest.disk.dataBlocks,
  hashStart: manifest.disk.dataBlocks,
  config,
  size,
  files,
})

/** An NBD export of the storage plane: made empty, bound to one image later, and never to another. */
export async function openExport(plane: Plane, options: ExportOptions): Promise<Export> {
  const { library, cache, images, traces, filler, verified, log } = plane
  const { store } = library
  const closed = new AbortController()
  let image: Image | undefined
  let binding: Promise<Image> | undefined
  let bound = ''
  const unpins: (() => void)[] = []
  let fill: Fill | undefined
  let checked: Checked = { files: 0, bytes: 0, ms: 0, paths: [] }
  let ending: NodeJS.Timeout | undefined
  let filling: NodeJS.Timeout | undefined
  let touches: Touches | undefined
  let logged = -1000

  const nbd = await serveNbd({
    ...options,
    onError: (error) => {
      // a guest may try again without end: the count has them all, the log one a second
      if (codeOf(error) === 'export-closed' || performance.now() - logged < 1000) return
      logged = performance.now()
      log(`export "${options.name}": a read failed: ${describe(error, image)}`)
    },
  })

  const attach = async (digest: string): Promise<Image> => {
    const opened = await images.get(digest)
    image = opened
    const { manifest, disk } = opened
    const closure = closureChunks(opened)
    unpins.push(store.pin([Buffer.from(digest, 'hex'), ...manifest.disk.tree, ...closure]))
    touches = recordTouches(opened, traces)
    nbd.onTouch(touches.note)
    nbd.bind(disk)
    void fetchAhead(opened, closure)
    filling = later(FILL_AFTER_MS, () => startFill(opened))
    return opened
  }

  /** The published closure at once, then what earlier starts touched, when the hub has said what that was. */
  const fetchAhead = async (opened: Image, closure: Buffer[]) => {
    const { signal } = closed
    const asked = traces.load(opened.digest, opened.disk.extents.length)
    await prefetch(cache, closure, signal)
    const traced = tracedChunks(opened, await asked)
    if (signal.aborted) return
    unpins.push(store.pin(traced))
    await prefetch(cache, traced, signal)
  }

  const startFill = (opened: Image) => {
    clearTimeout(filling)
    fill ??= filler.start(opened, closed.signal)
  }

  const need = async (): Promise<Image> => {
    if (binding) return await binding
    throw new ZosError(`Use export "${options.name}": nothing is bound to it yet`, { code: 'not-bound', kind: 'bug' })
  }

  return {
    options,
    async bind(digest) {
      if (bound && bound !== digest) {
        throw new ZosError(`Bind export "${options.name}" to "${digest}": it serves "${bound}" already`, {
          code: 'already-bound',
          kind: 'bug',
        })
      }
      bound = digest
      binding ??= attach(digest).catch((error) => {
        binding = undefined
        bound = ''
        throw error
      })
      return bindingOf(await binding)
    },
    async check(start) {
      checked = await launchCheck({ store, cache, verified }, await need(), start)
      return checked
    },
    ready() {
      ending ??= later(SETTLE_MS, () => {
        touches?.keep().catch((error) => log(`trace of "${bound}": ${reasonOf(error)}`))
        if (image) startFill(image)
      })
    },
    requests: () => nbd.stat().requests,
    stat: () => ({
      digest: bound,
      ...nbd.stat(),
      ...(touches?.stat() ?? { chunks: 0, fetchedBytes: 0 }),
      files: checked.files,
      checkedBytes: checked.bytes,
      selfContained: fill?.selfContained ?? !store.hub,
      ...(fill ? { fill } : {}),
    }),
    async [Symbol.asyncDispose]() {
      clearTimeout(ending)
      clearTimeout(filling)
      closed.abort()
      for (const unpin of unpins) unpin()
      await nbd[Symbol.asyncDispose]()
    },
  }
}
