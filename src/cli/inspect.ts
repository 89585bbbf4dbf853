import { codeOf, reasonOf, ZosError } from '#codec'
import { daemonCall } from './daemon.ts'
import { parseFlags } from './flags.ts'
import { formatter } from './format.ts'

const KINDS = { container: 'workloads', image: 'images' } as const
const ABSENT = new Set(['no-such-workload', 'unknown-image'])

/** The first of KINDS that knows NAME. */
async function find(name: string, kinds: readonly (keyof typeof KINDS)[]): Promise<unknown> {
  for (const kind of kinds) {
    try {
      return await daemonCall('GET', `/${KINDS[kind]}/${encodeURIComponent(name)}/inspect`)
    } catch (error) {
      if (!ABSENT.has(codeOf(error)) || kinds.length === 1) throw error
    }
  }
  throw new ZosError(`Inspect "${name}": there is no workload and no image of that name`, { code: 'no-such-object' })
}

/** All there is to know of workloads and images, as JSON; what is not there is named at the end. */
export default async function inspect(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('inspect', args, {
    format: { kind: 'value', short: 'f', about: 'only this, as {{.State.ExitCode}}' },
    type: { kind: 'value', about: 'container or image; else whichever there is' },
  })
  const { type } = flags
  if (type !== undefined && !Object.hasOwn(KINDS, type))
    throw new ZosError(`zos inspect: --type "${type}": write container or image`, { code: 'usage' })
  if (rest.length === 0) throw new ZosError('zos inspect: name a workload or an image', { code: 'usage' })
  const text = flags.format === undefined ? undefined : formatter(flags.format)
  const kinds = type === undefined ? (['container', 'image'] as const) : [type as keyof typeof KINDS]
  const found = await Promise.allSettled(rest.map((name) => find(name, kinds)))
  const values = found.flatMap((f) => (f.status === 'fulfilled' ? [f.value] : []))
  if (text) for (const value of values) process.stdout.write(`${text(value)}\n`)
  else process.stdout.write(`${JSON.stringify(values, null, 2)}\n`)
  for (const f of found) if (f.status === 'rejected') process.stderr.write(`zos: ${reasonOf(f.reason)}\n`)
  return values.length === found.length ? 0 : 1
}
