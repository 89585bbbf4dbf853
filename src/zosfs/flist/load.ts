import { blobsIn, type ChunkBackend, type Store } from '#cas'
import { reasonOf, ZosError } from '#codec'
import type { Manifest } from '../types.ts'
import { attachFingerprints, decodeManifest } from './decode.ts'
import { MAGIC } from './layout.ts'

/**
 * The manifest whose canonical bytes have the SHA-256 DIGEST (hex), verified and decoded. Without FINGERPRINTS, which
 * only reports and `verify` need, one blob less is fetched.
 */
export async function loadManifest(
  store: Store,
  digest: string,
  options: { fingerprints?: boolean } = {},
): Promise<Manifest> {
  try {
    const { manifest, fingerprints } = decodeManifest(await store.getBlob(Buffer.from(digest, 'hex')))
    if (options.fingerprints) attachFingerprints(manifest, await store.getBlob(fingerprints), fingerprints)
    return manifest
  } catch (error) {
    if (!(error instanceof ZosError)) throw error
    throw new ZosError(`Load manifest "${digest}": ${reasonOf(error)}`, {
      code: error.code,
      kind: error.kind,
      details: { ...error.details, digest },
      cause: error,
    })
  }
}

/** Hex ids of every object the manifest DIGEST needs, itself included: what a collection must keep. */
export async function* reachable(store: Store, digest: string): AsyncGenerator<string> {
  const { manifest, fingerprints } = decodeManifest(await store.getBlob(Buffer.from(digest, 'hex')))
  yield digest
  yield fingerprints.toString('hex')
  for (const id of chunkIds(manifest)) yield id.toString('hex')
}

/** Digests of all manifests that BACKEND has; throws when one cannot be read, as nobody knows then what it needs. */
export async function* manifestsIn(store: Store, backend: ChunkBackend): AsyncGenerator<string> {
  for await (const id of blobsIn(backend)) {
    const stored = await backend.get(id)
    if (!stored) continue // collected meanwhile
    const opened = await store.workers.open(id, stored)
    if (!opened.ok) {
      throw new ZosError(`Read "${id}" from "${backend.label}": its bytes are damaged; "zos store scrub" first`, {
        code: 'chunk-corrupt',
        kind: 'node',
        details: { id, found: opened.found },
      })
    }
    if (opened.plain.subarray(0, MAGIC.length).equals(MAGIC)) yield id
  }
}

/** Ids of all chunks of MANIFEST: packs, files, verity tree. Some come more than once. */
export function* chunkIds(manifest: Manifest): Generator<Buffer> {
  for (const { id } of manifest.packs) yield id
  for (const entry of manifest.entries) {
    if (entry.type !== 'file' || entry.content.kind !== 'chunks') continue
    for (const id of entry.content.chunks) if (id) yield id
  }
  yield* manifest.disk.tree
}
