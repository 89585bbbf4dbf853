import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { reasonOf, sha256Hex, ZosError } from '#codec'
import type { Layer } from '../types.ts'
import { decompressor, refuseOthers } from './compression.ts'
import { checkSettings } from './settings.ts'
import type { Sink } from './sink.ts'
import { readTar } from './tar.ts'
import { emptyTree, type Tree } from './tree.ts'

type Descriptor = { mediaType: string; digest: string; size: number; platform?: { architecture: string; os: string } }
export type Image = { config: Buffer; layers: Layer[] }

/** Documents above this are no manifests (OCI distribution-spec suggests 4 MiB). */
const DOCUMENT_LIMIT = 8 << 20
const READ = 1 << 20

const damaged = (what: string, why: string, cause?: unknown): ZosError =>
  new ZosError(`Read image: ${what} ${why}`, { code: 'bad-image', details: { what }, cause })

const blobPath = (layout: string, digest: string): string => {
  const [, hex] = /^sha256:([0-9a-f]{64})$/.exec(digest) ?? []
  if (!hex) throw damaged(`"${digest}"`, 'is not a SHA-256 digest')
  return join(layout, 'blobs', 'sha256', hex)
}

async function readDocument(layout: string, { digest, size }: Descriptor, what: string): Promise<Buffer> {
  if (size > DOCUMENT_LIMIT) throw damaged(what, `has ${size} bytes, more than ${DOCUMENT_LIMIT}`)
  const bytes = await readFile(blobPath(layout, digest)).catch((cause) => {
    throw damaged(what, `"${digest}" cannot be read: ${reasonOf(cause)}`, cause)
  })
  const found = `sha256:${sha256Hex(bytes)}`
  if (found !== digest) throw damaged(what, `has the digest "${found}" instead of "${digest}"`)
  return bytes
}

const parse = (bytes: Buffer, what: string) => {
  try {
    return JSON.parse(bytes.toString())
  } catch (cause) {
    throw damaged(what, 'is not JSON', cause)
  }
}

/**
 * Config and layers of the one image in the OCI layout at LAYOUT, which must be for ARCHITECTURE (Go's name). ORIGINAL: the
 * config as it was before the layout was made; it counts if it is of the same layers.
 */
export async function readImage(layout: string, architecture: string, original?: Buffer): Promise<Image> {
  const index = parse(await readFile(join(layout, 'index.json')), 'the index')
  let descriptor = index.manifests?.[0] as Descriptor | undefined
  if (index.manifests?.length !== 1 || !descriptor) throw damaged('the layout', 'does not hold exactly one image')
  let manifest = parse(await readDocument(layout, descriptor, 'the manifest'), 'the manifest')
  if (Array.isArray(manifest.manifests)) {
    const offered = manifest.manifests as Descriptor[]
    descriptor = offered.find((d) => d.platform?.architecture === architecture && d.platform.os === 'linux')
    if (!descriptor) throw foreign(offered.map((d) => d.platform?.architecture ?? '?').join(', '), architecture)
    manifest = parse(await readDocument(layout, descriptor, 'the manifest'), 'the manifest')
  }
  const config = await readDocument(layout, manifest.config ?? {}, 'the config')
  const said = parse(config, 'the config')
  checkSettings(said)
  const { architecture: has, os, rootfs } = said
  if ((os && os !== 'linux') || (has && has !== architecture))
    throw foreign(os === 'linux' || !os ? has : `${os}/${has}`, architecture)
  const diffIds: unknown[] = rootfs?.diff_ids ?? []
  const blobs = (manifest.layers ?? []) as Descriptor[]
  if (blobs.length !== diffIds.length) {
    throw damaged('the image', `has ${blobs.length} layers, but its config names ${diffIds.length}`)
  }
  const layers = blobs.map(({ mediaType, digest, size }, n) => ({
    mediaType,
    digest,
    size,
    diffId: String(diffIds[n]),
  }))
  return { config: original && sameLayers(original, diffIds) ? original : config, layers }
}

/** Its tag may have moved to another image between two looks at it. */
function sameLayers(config: Buffer, diffIds: readonly unknown[]): boolean {
  const said = parse(config, 'the config as its source has it')
  checkSettings(said)
  const { rootfs } = said
  return JSON.stringify(rootfs?.diff_ids ?? []) === JSON.stringify(diffIds)
}

const foreign = (has: string, wanted: string): ZosError =>
  new ZosError(`Read image: it is for "${has}", this node is "${wanted}"; publish an image built for "${wanted}"`, {
    code: 'foreign-architecture',
    details: { has, wanted },
  })

/** The bytes of a layer's archive; throws when the blob or what it unpacks to is not what was named. */
async function* layerBytes(
  layout: string,
  layer: Layer,
  what: string,
  onBytes: (count: number) => void,
): AsyncGenerator<Buffer> {
  const blobHash = createHash('sha256')
  const diffHash = createHash('sha256')
  let size = 0
  const blob = (async function* (): AsyncGenerator<Buffer> {
    for await (const bytes of createReadStream(blobPath(layout, layer.digest), { highWaterMark: READ })) {
      blobHash.update(bytes)
      size += bytes.length
      onBytes(bytes.length)
      yield bytes
    }
  })()
  try {
    const first = await blob.next()
    const head: Buffer = first.done ? Buffer.alloc(0) : first.value
    refuseOthers(head, what)
    const whole = (async function* () {
      yield head
      yield* blob
    })()
    const unpack = decompressor(head) // not by what the media type says: registries mislabel
    const fed = unpack && pipeline(whole, unpack)
    fed?.catch(() => {}) // the loop below meets the same error
    for await (const bytes of unpack ?? whole) {
      diffHash.update(bytes)
      yield bytes
    }
    await fed
  } catch (cause) {
    if (cause instanceof ZosError) throw cause
    throw damaged(what, `"${layer.digest}" cannot be unpacked: ${reasonOf(cause)}`, cause)
  }
  const digest = `sha256:${blobHash.digest('hex')}`
  if (digest !== layer.digest) throw damaged(what, `has the digest "${digest}" instead of "${layer.digest}"`)
  if (size !== layer.size) throw damaged(what, `has ${size} bytes instead of ${layer.size}`)
  const diffId = `sha256:${diffHash.digest('hex')}`
  if (diffId !== layer.diffId) throw damaged(what, `unpacks to "${diffId}" instead of "${layer.diffId}"`)
}

/** The image's tree: its layers one over the other, whiteouts applied. */
export async function importLayers(
  layout: string,
  image: Image,
  sink: Sink,
  onBytes: (count: number) => void = () => {},
): Promise<Tree> {
  const tree = emptyTree()
  for (const [n, layer] of image.layers.entries()) {
    const what = `layer ${n + 1} of ${image.layers.length}`
    await readTar(tree, sink, n, layerBytes(layout, layer, what, onBytes), what)
  }
  return tree
}
