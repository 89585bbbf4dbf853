import { ZosError } from '#codec'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { bytesText } from './terminal.ts'

const CALLS: Record<string, [method: string, path: string]> = {
  stat: ['GET', '/store'],
  gc: ['POST', '/store/gc'],
  scrub: ['POST', '/store/scrub'],
  recompress: ['POST', '/store/recompress'],
}

function words(name: string, value: unknown): string {
  if (typeof value === 'number' && /bytes$/i.test(name)) return bytesText(value)
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map((v) => words('', v)).join('; ')
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value)
    .map(([field, v]) => `${field} ${words(field, v)}`)
    .join(', ')
}

/** A line for each thing the storage plane says of the store: `removedBytes` as "removed bytes", sizes as people read them. */
export const storeText = (answer: Record<string, unknown>): string =>
  Object.entries(answer)
    .map(([name, value]) => {
      const said = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
      return `${said.padEnd(14)} ${words(name, value)}\n`
    })
    .join('')

export default async function store(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('store', args, {
    json: JSON_FLAG,
    grace: { kind: 'value', about: 'gc: keep what is younger than this many seconds' },
    hub: { kind: 'switch', about: 'gc: at the hub, a folder, what no manifest there needs' },
    untagged: {
      kind: 'switch',
      about: 'gc --hub: manifests without a tag too; only when no deployment and no node needs them',
    },
  })
  const call = rest.length === 1 && Object.hasOwn(CALLS, rest[0]!) ? CALLS[rest[0]!] : undefined
  if (!call)
    throw new ZosError(
      'zos store: write zos store stat, gc [--grace SECONDS] [--hub [--untagged]], scrub or recompress',
      { code: 'usage' },
    )
  const seconds = Number(flags.grace ?? 0)
  if (!(seconds >= 0))
    throw new ZosError(`zos store gc: --grace "${flags.grace}" is not a number of seconds`, { code: 'usage' })
  if ((flags.hub || flags.untagged) && rest[0] !== 'gc')
    throw new ZosError('zos store: --hub and --untagged belong to gc', { code: 'usage' })
  if (flags.untagged && !flags.hub)
    throw new ZosError('zos store gc: --untagged goes with --hub; here untagged manifests go anyway', { code: 'usage' })
  const { hub, untagged } = flags
  const body = { hub, untagged, ...(flags.grace === undefined ? {} : { grace: seconds * 1000 }) }
  const answer = await daemonCall<Record<string, unknown>>(...call, call[0] === 'GET' ? undefined : body)
  if (flags.json) process.stdout.write(`${JSON.stringify(answer)}\n`)
  else process.stdout.write(storeText(answer))
  return 0
}
