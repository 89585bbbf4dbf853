import { existsSync } from 'node:fs'
import { ZosError } from '#codec'
import { places } from '#wire'
import { openLibrary, type Published, type PublishOptions, publish } from '#zosfs'
import { JSON_FLAG, parseFlags } from './flags.ts'
import type { Member } from './grid/fetch.ts'
import { hubInUse } from './hub.ts'
import { progressLine, rateText } from './progress.ts'
import { bytesText } from './terminal.ts'

const TRANSPORT = /^(docker|docker-archive|oci|oci-archive|dir|grid|grant):/

const PHASES = { pull: 'fetching', import: 'reading', store: 'storing' } as const

/** WHO signs: for what comes from a grid, and for what is brought to one, INTO the domain of a deployment there. */
async function publishSource(
  source: string,
  tag: string,
  who: Member & { quiet: boolean; into?: string | undefined },
): Promise<Published> {
  const { quiet, into } = who
  const { home } = places()
  await using library = openLibrary({ home, hub: await hubInUse() })
  const line = progressLine()
  let phase = ''
  let begun = performance.now()
  const stop = new AbortController()
  const interrupted = () =>
    stop.abort(
      new ZosError(`Publish "${tag}": interrupted; the next attempt goes on where it was`, { code: 'interrupted' }),
    )
  process.once('SIGINT', interrupted)
  try {
    const options: PublishOptions = {
      signal: stop.signal,
      onProgress: (p) => {
        if (quiet) return
        if (p.phase !== phase) {
          phase = p.phase
          begun = performance.now()
        }
        line.show(`${PHASES[p.phase]} ${tag}: ${rateText(p.bytes, p.totalBytes, begun)}, ${p.files} files`)
      },
    }
    const kind = /^(grid|grant):/.exec(source)?.[1]
    const grid = kind || into !== undefined ? await import('./grid/fetch.ts') : undefined
    const done =
      kind === 'grid'
        ? await grid!.publishFromGrid(library, source, tag, who, options)
        : kind === 'grant'
          ? await grid!.publishGranted(library, source, tag, options)
          : await publish(library, source, tag, options)
    if (into !== undefined) await grid!.bringPrivately(library, done.digest, into, who)
    return done
  } finally {
    process.off('SIGINT', interrupted)
    line.done()
  }
}

/** A bare path is a directory; anything else names its transport. */
function sourceOf(text: string): string {
  if (TRANSPORT.test(text)) return text
  if (text.startsWith('.') || text.startsWith('/')) {
    if (!existsSync(text)) throw new ZosError(`Publish "${text}": there is no such folder`, { code: 'no-such-source' })
    return `dir:${text}`
  }
  throw new ZosError(
    `Publish "${text}": name its kind: docker://HOST/IMAGE:TAG, docker-archive:FILE, oci:DIR, oci-archive:FILE, dir:DIR, grid:DEPLOYMENT/WORKLOAD or grant:FILE`,
    {
      code: 'bad-source',
    },
  )
}

export default async function publishCommand(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('publish', args, {
    json: JSON_FLAG,
    quiet: { kind: 'switch', short: 'q', about: 'print only the id' },
    into: { kind: 'value', about: "bring it to the grid's hubs too, for the group's deployment of this name alone" },
    as: { kind: 'value', about: 'the key of a member, for what a grid is asked or given' },
    group: { kind: 'value', about: 'by name or id' },
  })
  const [source, tag] = rest
  if (!source || !tag || rest.length > 2)
    throw new ZosError('zos publish: write zos publish SOURCE NAME', { code: 'usage' })
  const done = await publishSource(sourceOf(source), tag, { ...flags, quiet: flags.quiet || flags.json })
  if (flags.json) process.stdout.write(`${JSON.stringify(done)}\n`)
  else {
    process.stdout.write(
      `${tag}: ${done.files} files, ${bytesText(done.size)}; ${done.newChunks} of ${done.chunks} chunks were new, ` +
        `${bytesText(done.newBytes)} stored, manifest ${bytesText(done.manifestBytes)}, in ${done.seconds.toFixed(1)} s\n${done.digest}\n`,
    )
  }
  return 0
}

/** A name nobody published becomes one: a source as it is, else a Docker name. */
export const publishUnknown = (image: string, member: Member): Promise<Published> =>
  publishSource(TRANSPORT.test(image) ? image : `docker://${image}`, image, { ...member, quiet: false })

/** What `zos run` does with one. */
export async function publishForRun(image: string, member: Member): Promise<void> {
  process.stderr.write(`zos: "${image}" is not published here: publishing it first\n`)
  await publishUnknown(image, member)
}
