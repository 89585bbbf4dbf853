import { ZosError } from '#codec'
import type { ImageView } from '#wire'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { listFormatter } from './format.ts'
import { bytesText, table } from './terminal.ts'

/** A row in Docker's words, for --format. A name is what it was published as: a colon need not begin a tag. */
const dockerRow = (i: ImageView) => {
  const [, repository = i.name, tag = 'latest'] = /^(.*):([^:/]+)$/.exec(i.name) ?? []
  const ID = i.digest.slice(0, 12)
  return { ID, Repository: repository, Tag: tag, Digest: i.digest, Size: bytesText(i.size), CreatedAt: i.created }
}

export default async function images(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('images', args, {
    format: { kind: 'value', about: 'json, or such as {{.Repository}}: {{.Size}}' },
    quiet: { kind: 'switch', short: 'q', about: 'digests alone' },
    'no-trunc': { kind: 'switch', about: 'digests whole' },
    json: JSON_FLAG,
  })
  const [name] = rest
  if (rest.length > 1) throw new ZosError('zos images: write zos images [FLAGS] [NAME]', { code: 'usage' })
  const text = flags.format === undefined || flags.format === 'table' ? undefined : listFormatter(flags.format)
  const all = await daemonCall<ImageView[]>('GET', '/images')
  const shown = name === undefined ? all : all.filter((i) => i.name === name || dockerRow(i).Repository === name)
  const digestOf = (i: ImageView) => (flags['no-trunc'] ? i.digest : i.digest.slice(0, 12))
  if (flags.json) process.stdout.write(`${JSON.stringify(shown)}\n`)
  else if (flags.quiet) process.stdout.write([...new Set(shown.map(digestOf))].map((d) => `${d}\n`).join(''))
  else if (text) process.stdout.write(text(shown.map(dockerRow)))
  else {
    const rows = shown.map((i) => [i.name, digestOf(i), bytesText(i.size), i.created])
    process.stdout.write(table(['NAME', 'DIGEST', 'SIZE', 'PUBLISHED'], rows))
  }
  return 0
}
