import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { tryRun } from '#sys'
import type { Image } from './source.ts'
import { bytesOfImage, WORTH_KNOWING } from './total.ts'

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
 * The config as its source has it; undefined for an OCI layout, whose configs are copied as they are. Of Docker's own
 * manifests skopeo's conversion leaves out what OCI has no word for, such as HEALTHCHECK.
 */
async function configOf(source: Image, select: readonly string[], signal: AbortSignal): Promise<Buffer | undefined> {
  if (/^oci(-archive)?:/.test(source.name)) return undefined
  const args = ['inspect', ...select, '--config', '--raw']
  if (source.plainHttp) args.push('--tls-verify=false')
  const { code, stdout, stderr } = await tryRun('skopeo', [...args, source.name], { timeout: DEADLINE, signal })
  if (code !== 0) throw pullFailed(source, stderr)
  return stdout
}

const pullFailed = (source: Image, stderr: string): ZosError =>
  new ZosError(`Pull "${source.name}": ${skopeoReason(stderr)}`, {
    code: 'pull-failed',
    details: { source: source.name, stderr: stderr.slice(-2000) },
  })

/** What a killed skopeo left half-fetched in LAYOUT is of no use to the next one. */
async function sweep(layout: string): Promise<void> {
  for (const name of await readdir(layout).catch(() => []))
    if (name.startsWith('oci-put-blob')) await rm(join(layout, name), { force: true })
}

export type PullOptions = {
  architecture: string
  signal?: AbortSignal
  /** Bytes fetched by this pull, of as many as it has to fetch where the image says so. */
  onBytes?: (bytes: number, total: number | undefined) => void
  /** The total is asked for after so many milliseconds. */
  askAfter?: number
}

/**
 * Brings an image into the OCI layout LAYOUT with skopeo: every transport, authentication and mirror setting people
 * have already. Blobs there from an interrupted pull are not fetched again. Gives its config where the layout's may lack some.
 */
export async function pullImage(source: Image, layout: string, options: PullOptions): Promise<Buffer | undefined> {
  const select = ['--override-os=linux', `--override-arch=${options.architecture}`]
  const args = ['copy', '--quiet', '--insecure-policy', ...select]
  if (source.plainHttp) args.push('--src-tls-verify=false')
  // what is not compressed stays so: compressing it only to read it again would be the slowest part
  args.push('--dest-oci-accept-uncompressed-layers', source.name, `oci:${layout}:image`)
  await sweep(layout)
  const before = await bytesBelow(layout)
  let total: number | undefined
  // a blob under way is beside the others, under a name of its own
  const report = async () => options.onBytes?.((await bytesBelow(layout)) - before, total)
  let looking: Promise<void> | undefined
  const timer = setInterval(() => {
    looking ??= report().then(() => {
      looking = undefined
    })
  }, EVERY)
  const asking = new AbortController()
  const askingTotal = setTimeout(async () => {
    const bytes = await bytesOfImage(source, options.architecture, asking.signal).catch(() => undefined)
    total = bytes && bytes - before
  }, options.askAfter ?? WORTH_KNOWING)
  const config = configOf(source, select, asking.signal)
  config.catch(() => {})
  try {
    const { code, stderr } = await tryRun('skopeo', args, {
      timeout: DEADLINE,
      ...(options.signal ? { signal: options.signal } : {}),
    }).catch((error) => {
      options.signal?.throwIfAborted()
      throw error
    })
    options.signal?.throwIfAborted()
    if (code !== 0) throw pullFailed(source, stderr)
    return await config
  } finally {
    asking.abort()
    clearInterval(timer)
    clearTimeout(askingTotal)
    await looking
  }
}
