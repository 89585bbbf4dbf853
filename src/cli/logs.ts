import { ZosError } from '#codec'
import { attach } from './attach.ts'
import { daemonOpen, pathOf } from './daemon.ts'
import { parseFlags } from './flags.ts'
import { parseWhen } from './when.ts'

export default async function logs(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('logs', args, {
    follow: { kind: 'switch', short: 'f', about: 'go on as more is written' },
    timestamps: { kind: 'switch', short: 't', about: 'the time before each line' },
    tail: { kind: 'value', short: 'n', about: 'only the last N lines' },
    since: { kind: 'value', about: 'from a time on: 10m (ago), Unix seconds or a date' },
    until: { kind: 'value', about: 'up to a time, written the same way' },
  })
  const [name] = rest
  if (!name || rest.length > 1)
    throw new ZosError('zos logs: write zos logs [-f] [-t] [-n LINES] WORKLOAD', { code: 'usage' })
  // as with Docker, less than none is all
  if (!/^(all|-?\d+)$/.test(flags.tail ?? 'all'))
    throw new ZosError(`zos logs: --tail "${flags.tail}" is not a number of lines`, { code: 'usage' })
  const tail = /^\d/.test(flags.tail ?? 'all') ? Number(flags.tail) : undefined
  const request = {
    follow: flags.follow,
    timestamps: flags.timestamps,
    tail,
    since: flags.since === undefined ? undefined : parseWhen('since', flags.since),
    until: flags.until === undefined ? undefined : parseWhen('until', flags.until),
  }
  return attach(await daemonOpen(`${pathOf('workloads', name)}/logs`), request, { input: false, tty: false })
}
