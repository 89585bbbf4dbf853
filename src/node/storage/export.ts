import { codeOf, ZosError } from '#codec'
import { type ChunkCache, type ExportOptions, type Library, type Start, serveNbd } from '#zosfs'
import { type Checked, describe, launchCheck } from './check.ts'
import { type Fill, startFill } from './fill.ts'
import type { Image, Images } from './images.ts'
import { prefetch } from './prefetch.ts'
import type { Traces } from './trace.ts'
import type { Verified } from './verified.ts'

export type Plane = {
  library: Library
  cache: ChunkCache
  images: Images
  traces: Traces
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
  /** The start is over: what it touched is kept for the next one, a little later. */
  ready(): void
  fill(): Fill
  stat(): Record<string, unknown>
  [Symbol.asyncDispose](): Promise<void>
}

/** What is touched within this time after `ready` still belongs to the start. Milliseconds. */
const SETTLE_MS = 3000

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
  const { library, cache, images, traces, verified, log } = plane
  const { store } = library
  const closed = new AbortController()
  let image: Image | undefined
  let binding: Promise<Image> | undefined
  let bound = ''
  let unpin = () => {}
  let fill: Fill | undefined
  let checked: Checked = { files: 0, bytes: 0, ms: 0 }
  let ending: NodeJS.Timeout | undefined
  let seen = new Uint8Array(0)
  let order: number[] = []
  let earlier: number[] = []
  let touchedBytes = 0
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
    unpin = store.pin([Buffer.from(digest, 'hex'), ...manifest.disk.tree])
    seen = new Uint8Array(disk.extents.length)
    nbd.onTouch((n) => {
      if (seen[n]) return
      seen[n] = 1
      order.push(n)
      touchedBytes += disk.extents[n]!.blocks * 4096
    })
    nbd.bind(disk)
    earlier = await traces.load(digest, disk.extents.length)
    prefetch(cache, opened, earlier, closed.signal).catch(() => {})
    return opened
  }

  const need = async (): Promise<Image> => {
    if (binding) return await binding
    throw new ZosError(`Use export "${options.name}": nothing is bound to it yet`, { code: 'not-bound', kind: 'bug' })
  }

  const keepTrace = () => {
    const known = new Set(earlier)
    const fresh = order.filter((n) => !known.has(n))
    order = []
    if (fresh.length === 0) return
    earlier = [...earlier, ...fresh]
    traces.save(bound, earlier).catch((error) => log(`trace of "${bound}": ${error}`))
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
      if (ending) return
      ending = setTimeout(keepTrace, SETTLE_MS)
      ending.unref()
    },
    fill() {
      if (!image)
        throw new ZosError(`Fill export "${options.name}": nothing is bound to it yet`, {
          code: 'not-bound',
          kind: 'bug',
        })
      fill ??= startFill(store, image, closed.signal)
      return fill
    },
    stat: () => ({
      digest: bound,
      ...nbd.stat(),
      chunks: seen.reduce((sum, touched) => sum + touched, 0),
      fetchedBytes: touchedBytes,
      files: checked.files,
      checkedBytes: checked.bytes,
      selfContained: fill?.selfContained ?? !store.hub,
      ...(fill ? { fill } : {}),
    }),
    async [Symbol.asyncDispose]() {
      clearTimeout(ending)
      closed.abort()
      unpin()
      await nbd[Symbol.asyncDispose]()
    },
  }
}
