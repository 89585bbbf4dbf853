import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { sha256Hex } from '#codec'
import { run } from '#sys'

async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** What an OCI image config says of its process (image-spec, config.md). */
export type ProcessConfig = Record<string, unknown>

/**
 * Makes the folder DIR an OCI image layout (image-spec, image-layout.md) of one image with tag `1`. LAYERS: tar files,
 * lowest first, which are compressed and moved into it.
 */
export async function ociLayout(
  dir: string,
  layers: readonly string[],
  config: ProcessConfig,
  architecture = process.arch === 'arm64' ? 'arm64' : 'amd64',
): Promise<void> {
  const blobs = join(dir, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (value: unknown): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value))
    const digest = sha256Hex(bytes)
    writeFileSync(join(blobs, digest), bytes)
    return { digest: `sha256:${digest}`, size: bytes.length }
  }
  const diffIds: string[] = []
  const described: { mediaType: string; digest: string; size: number }[] = []
  for (const tar of layers) {
    diffIds.push(`sha256:${await sha256File(tar)}`)
    await run('gzip', ['-n', '-1', tar], { timeout: 300_000 })
    const digest = await sha256File(`${tar}.gz`)
    const { size } = statSync(`${tar}.gz`)
    renameSync(`${tar}.gz`, join(blobs, digest))
    described.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: `sha256:${digest}`, size })
  }
  const image = put({ architecture, os: 'linux', config, rootfs: { type: 'layers', diff_ids: diffIds } })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = put({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...image },
    layers: described,
  })
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const annotations = { 'org.opencontainers.image.ref.name': '1' }
  const index = { schemaVersion: 2, manifests: [{ mediaType, ...manifest, annotations }] }
  writeFileSync(join(dir, 'index.json'), JSON.stringify(index))
}
