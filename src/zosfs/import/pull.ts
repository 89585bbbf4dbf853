import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { tryRun } from '#sys'
import type { Source } from './source.ts'

/** A pull that takes longer has lost its registry. Milliseconds. */
const DEADLINE = 3600_000
/** Progress is looked up this often. Milliseconds. */
const EVERY = 300

async function bytesBelow(dir: string): Promise<number> {
  const names = await readdir(dir, { recursive: true }).catch(() => [])
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(dir, name)).then(
        (s) => (s.isFile() ? s.size : 0),
        () => 0,
      ),
    ),
  )
  return sizes.reduce((a, b) => a + b, 0)
}

/** What skopeo's last log line says, without its decoration. */
function skopeoReason(stderr: string): string {
  const last = stderr.trim().split('\n').at(-1) ?? ''
  const [, quoted] = /msg=("(?:[^"\\]|\\.)*")/.exec(last) ?? []
  if (!quoted) return last.replace(/^FATA\[\d+\] /, '') || 'it said nothing'
  try {
    return JSON.parse(quoted) as string
  } catch {
    return quoted
  }
}

/**
 * Brings an image into the OCI layout LAYOUT with skopeo: every transport, authentication and mirror setting people
 * have already. Blobs there from an interrupted pull are not fetched again.
 */
export async function pullImage(
  source: Extract<Source, { kind: 'image' }>,
  layout: string,
  options: { architecture: string; signal?: AbortSignal; onBytes?: (bytes: number) => void },
): Promise<void> {
  const args = [
    'copy',
    '--quiet',
    '--insecure-policy',
    '--override-os=linux',
    `--override-arch=${options.architecture}`,
  ]
  if (source.plainHttp) args.push('--src-tls-verify=false')
  // what is not compressed stays so: compressing it only to read it again would be the slowest part
  args.push('--dest-oci-accept-uncompressed-layers', source.name, `oci:${layout}:image`)
  let looking: Promise<void> | undefined
  const timer = setInterval(() => {
    looking ??= bytesBelow(join(layout, 'blobs')).then((bytes) => {
      options.onBytes?.(bytes)
      looking = undefined
    })
  }, EVERY)
  try {
    const { code, stderr } = await tryRun('skopeo', args, {
      timeout: DEADLINE,
      ...(options.signal ? { signal: options.signal } : {}),
    }).catch((error) => {
      options.signal?.throwIfAborted()
      throw error
    })
    options.signal?.throwIfAborted()
    if (code !== 0) {
      throw new ZosError(`Pull "${source.name}": ${skopeoReason(stderr)}`, {
        code: 'pull-failed',
        details: { source: source.name, stderr: stderr.slice(-2000) },
      })
    }
    options.onBytes?.(await bytesBelow(join(layout, 'blobs')))
  } finally {
    clearInterval(timer)
    await looking
  }
}
