import { codeOf, reasonOf, ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { parseFlags } from './flags.ts'
import { formatter } from './format.ts'

const KINDS = { container: 'workloads', image: 'images', volume: 'volumes' } as const
const ABSENT = new Set(['no-such-workload', 'unknown-image', 'no-such-volume'])
type Kind = keyof typeof KINDS

/** The first of KINDS that knows NAME. */
async function find(name: string, kinds: readonly Kind[]): Promise<unknown> {
  for (const kind of kinds) {
    try {
      return await daemonCall('GET', `${pathOf(KINDS[kind], name)}/inspect`)
    } catch (error) {
      if (!ABSENT.has(codeOf(error)) || kinds.length === 1) throw error
    }
  }
  throw new ZosError(`Inspect "${name}": there is no workload, no image and no volume of that name`, {
    code: 'no-such-object',
  })
}

/** Says all there is to know of each of NAMES, as JSON or in the words of FORMAT; what is not there is named at the end. */
export async function inspectEach(names: readonly string[], kinds: readonly Kind[], format?: string): Promise<number> {
  const text = format === undefined ? undefined : formatter(format)
  const found = await Promise.allSettled(names.map((name) => find(name, kinds)))
  const values = found.flatMap((f) => (f.status === 'fulfilled' ? [f.value] : []))
  if (text) for (const value of values) process.stdout.write(`${text(value)}\n`)
  else process.stdout.write(`${JSON.stringify(values, null, 2)}\n`)
  for (const f of found) if (f.status === 'rejected') process.stderr.write(`zos: ${reasonOf(f.reason)}\n`)
  return values.length === found.length ? 0 : 1
}

export default async function inspect(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('inspect', args, {
    format: { kind: 'value', short: 'f', about: 'only this, as {{.State.ExitCode}}' },
    type: { kind: 'value', about: 'container, image or volume; else whichever there is' },
  })
  const { type } = flags
  if (type !== undefined && !Object.hasOwn(KINDS, type))
    throw new ZosError(`zos inspect: --type "${type}": write container, image or volume`, { code: 'usage' })
  if (rest.length === 0) throw new ZosError('zos inspect: name a workload, an image or a volume', { code: 'usage' })
  return inspectEach(rest, type === undefined ? (Object.keys(KINDS) as Kind[]) : [type as Kind], flags.format)
}
