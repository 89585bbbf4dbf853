import { rm } from 'node:fs/promises'
import { ZosError } from '#codec'
import { importDirectory } from '../import/dir.ts'
import { type Image, importLayers, readImage } from '../import/layout.ts'
import { pullImage } from '../import/pull.ts'
import type { Sink } from '../import/sink.ts'
import type { Image as ImageSource, Source } from '../import/source.ts'
import { bytesOfFolder, WORTH_KNOWING } from '../import/total.ts'
import type { Tree } from '../import/tree.ts'
import type { Reporting } from './progress.ts'
import { pullFolder } from './temporary.ts'

type Read = { tree: Tree; image?: Image }
type Options = {
  /** The home's folder for what is not whole yet. */
  temporary: string
  architecture: string | undefined
  signal: AbortSignal | undefined
}

const GO_ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' }

/** Reads SOURCE into a tree, its contents into SINK; an image's config and layers come along. */
export const readSource = (source: Source, sink: Sink, reporting: Reporting, options: Options): Promise<Read> =>
  source.kind === 'directory'
    ? readDirectory(source.path, sink, reporting)
    : readPulled(source, sink, reporting, options)

async function readDirectory(path: string, sink: Sink, reporting: Reporting): Promise<Read> {
  reporting.enter('import')
  const counting = new AbortController()
  const timer = setTimeout(async () => reporting.expect(await bytesOfFolder(path, counting.signal)), WORTH_KNOWING)
  try {
    return { tree: await importDirectory(path, sink, () => reporting.at(sink.tally.bytes)) }
  } finally {
    clearTimeout(timer)
    counting.abort()
  }
}

async function readPulled(source: ImageSource, sink: Sink, reporting: Reporting, options: Options): Promise<Read> {
  const { temporary, architecture = GO_ARCHITECTURES[process.arch], signal } = options
  if (!architecture)
    throw new ZosError(`Publish: no images exist for "${process.arch}"`, { code: 'foreign-architecture' })
  using pull = pullFolder(temporary, `${architecture} ${source.name}`)
  const layout = pull.path
  try {
    reporting.enter('pull')
    const onBytes = (bytes: number, total: number | undefined) => reporting.at(bytes, total)
    const config = await pullImage(source, layout, { architecture, onBytes, ...(signal ? { signal } : {}) })
    const image = await readImage(layout, architecture, config)
    reporting.enter(
      'import',
      image.layers.reduce((sum, { size }) => sum + size, 0),
    )
    let read = 0
    const tree = await importLayers(layout, image, sink, (count) => {
      read += count
      reporting.at(read)
    })
    return { tree, image }
  } finally {
    // an interrupted pull is gone on with by the next one
    if (!signal?.aborted) await rm(layout, { recursive: true, force: true })
  }
}
