import { ZosError } from '#codec'
import { attach } from './attach.ts'
import { daemonOpen } from './daemon.ts'
import { parseFlags } from './flags.ts'

export default async function logs(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('logs', args, {
    follow: { kind: 'switch', short: 'f', about: 'go on as more is written' },
    timestamps: { kind: 'switch', short: 't', about: 'the time before each line' },
    tail: { kind: 'value', short: 'n', about: 'only the last N lines' },
  })
  const [name] = rest
  if (!name || rest.length > 1)
    throw new ZosError('zos logs: write zos logs [-f] [-t] [-n LINES] WORKLOAD', { code: 'usage' })
  const tail = flags.tail === undefined || flags.tail === 'all' ? undefined : Number(flags.tail)
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0)) {
    throw new ZosError(`zos logs: --tail "${flags.tail}" is not a number of lines`, { code: 'usage' })
  }
  const request = { follow: flags.follow, timestamps: flags.timestamps, tail }
  return attach(await daemonOpen(`/workloads/${encodeURIComponent(name)}/logs`), request, { input: false, tty: false })
}
