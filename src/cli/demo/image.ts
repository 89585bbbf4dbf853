import { createHash } from 'node:crypto'
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { sha256Hex } from '#codec'
import { run } from '#sys'
import { archivesOf, debianCodename } from '#vm'

/** What the main job runs: Debian with nginx, as any Dockerfile would make it. */
export const DEMO_PAGE = '<!doctype html><title>ZOS</title><h1>Hello from nginx in a microVM of its own</h1>\n'
const PACKAGES = 'nginx'
/** Raise when the recipe below changes: the cached image is made anew. */
const RECIPE = 1

async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** An OCI image layout (image-spec, image-layout.md) of one Debian root, made once by mmdebstrap; gives its folder. */
export async function demoImage(cacheDir: string, say: (line: string) => void): Promise<string> {
  const dir = join(cacheDir, 'demo', `nginx-${RECIPE}`)
  if (existsSync(join(dir, 'index.json'))) return dir
  const work = `${dir}.${process.pid}`
  mkdirSync(join(work, 'blobs/sha256'), { recursive: true })
  try {
    const codename = await debianCodename()
    const [archive] = await archivesOf(codename)
    const signed = archive!.signedBy?.startsWith('/') ? ` signed-by=${archive!.signedBy}` : ''
    say(`making a Debian ${codename} root with ${PACKAGES} (mmdebstrap, about a minute, once)`)
    const tar = join(work, 'layer.tar')
    await run(
      'mmdebstrap',
      [
        '--variant=minbase',
        '--quiet',
        `--include=${PACKAGES}`,
        `--customize-hook=echo ${Buffer.from(DEMO_PAGE).toString('base64')} | base64 -d > "$1/var/www/html/index.html"`,
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
        codename,
        tar,
        `deb${signed ? ` [${signed.trim()}]` : ''} ${archive!.uri} ${codename} main`,
      ],
      { timeout: 900_000 },
    )
    const put = (bytes: Buffer): { digest: string; size: number } => {
      const digest = sha256Hex(bytes)
      writeFileSync(join(work, 'blobs/sha256', digest), bytes)
      return { digest: `sha256:${digest}`, size: bytes.length }
    }
    const diffId = `sha256:${await sha256File(tar)}`
    await run('gzip', ['-n', '-1', tar], { timeout: 300_000 })
    const layer = await sha256File(`${tar}.gz`)
    const size = statSync(`${tar}.gz`).size
    renameSync(`${tar}.gz`, join(work, 'blobs/sha256', layer))
    const config = put(
      Buffer.from(
        JSON.stringify({
          architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
          os: 'linux',
          config: {
            Cmd: ['nginx', '-g', 'daemon off; error_log /dev/stderr; '],
            Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
            StopSignal: 'SIGQUIT',
          },
          rootfs: { type: 'layers', diff_ids: [diffId] },
        }),
      ),
    )
    const manifest = put(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
          layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: `sha256:${layer}`, size }],
        }),
      ),
    )
    writeFileSync(join(work, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    writeFileSync(
      join(work, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [
          {
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            ...manifest,
            annotations: { 'org.opencontainers.image.ref.name': '1' },
          },
        ],
      }),
    )
    rmSync(dir, { recursive: true, force: true })
    renameSync(work, dir)
    return dir
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Bytes of the layers as a registry sends them. */
export function compressedLayerBytes(dir: string): number {
  const blob = (digest: string) => join(dir, 'blobs', digest.replace(':', '/'))
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0]!.digest), 'utf8')) as { layers: { size: number }[] }
  return manifest.layers.reduce((n, l) => n + l.size, 0)
}
