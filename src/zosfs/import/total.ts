import { lstatSync, readdirSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { tryRun } from '#sys'
import type { Image } from './source.ts'

/** What takes less shows no time left: to know a total costs a question to the registry, or a walk over the folder. Milliseconds. */
export const WORTH_KNOWING = 2000
/** A registry that answers later is not waited for. Milliseconds. */
const DEADLINE = 60_000

type Descriptor = { digest?: unknown; size?: unknown; platform?: { architecture?: unknown; os?: unknown } }
type Document = { manifests?: Descriptor[]; config?: Descriptor; layers?: Descriptor[] }

async function documentAt(name: string, flags: readonly string[], signal: AbortSignal): Promise<Document> {
  const { code, stdout } = await tryRun('skopeo', ['inspect', '--raw', ...flags, name], { timeout: DEADLINE, signal })
  return code === 0 ? (JSON.parse(stdout.toString()) as Document) : {}
}

/** Bytes that fetching IMAGE for ARCHITECTURE takes, as its manifest has them; undefined where it does not say so cheaply. */
export async function bytesOfImage(
  { name, plainHttp }: Image,
  architecture: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  // an archive would be unpacked to be asked
  const [, repository] = /^(docker:.*?|oci:.*)(?::[^/@]*)?(?:@[^/]*)?$/.exec(name) ?? []
  if (repository === undefined) return undefined
  const flags = plainHttp ? ['--tls-verify=false'] : []
  let found = await documentAt(name, flags, signal)
  if (found.manifests) {
    const its = found.manifests.find(({ platform: p }) => p?.os === 'linux' && p.architecture === architecture)
    if (!its || !name.startsWith('docker:')) return undefined
    found = await documentAt(`${repository}@${its.digest}`, flags, signal)
  }
  const sizes = [found.config, ...(found.layers ?? [])].map((d) => Number(d?.size))
  return found.layers && sizes.every((size) => size > 0) ? sizes.reduce((a, b) => a + b) : undefined
}

/** Bytes of the files below the folder PATH, each inode once; undefined when that cannot be known, or SIGNAL says that nobody asks. */
export async function bytesOfFolder(path: string, signal: AbortSignal): Promise<number | undefined> {
  const seen = new Set<string>()
  let sum = 0
  const folders = [Buffer.from(path)]
  try {
    for (let at = folders.pop(); at; at = folders.pop()) {
      for (const name of readdirSync(at, { encoding: 'buffer' })) {
        const below = Buffer.concat([at, Buffer.from('/'), name])
        const facts = lstatSync(below)
        const inode = `${facts.dev}:${facts.ino}`
        if (facts.isDirectory()) folders.push(below)
        else if (facts.isFile() && !seen.has(inode)) sum += facts.size
        if (facts.nlink > 1) seen.add(inode)
      }
      // the publish itself goes on in between
      await setImmediate()
      if (signal.aborted) return undefined
    }
    return sum
  } catch {
    return undefined // the publish meets the same, and says so
  }
}
