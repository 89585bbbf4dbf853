import { ZosError } from '#codec'
import type { ProcessRow } from '#vm'
import { daemonCall, pathOf } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { bytesText, table } from './terminal.ts'

/** 3661 seconds → "1:01:01". */
function clock(seconds: number): string {
  const two = (n: number) => String(Math.floor(n) % 60).padStart(2, '0')
  return `${Math.floor(seconds / 3600)}:${two(seconds / 60)}:${two(seconds)}`
}

/** The processes of a workload, by its own numbers. */
export default async function top(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('top', args, { json: JSON_FLAG })
  const [name] = rest
  if (!name || rest.length > 1)
    throw new ZosError('zos top: write zos top WORKLOAD; flags of ps are not taken', { code: 'usage' })
  const rows = await daemonCall<ProcessRow[]>('GET', `${pathOf('workloads', name)}/processes`)
  if (flags.json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else {
    const cells = rows.map((r) => [
      ...[r.pid, r.ppid, r.uid, r.state, clock(r.cpuTicks / 100), bytesText(r.rss), clock(r.age)].map(String),
      r.command,
    ])
    process.stdout.write(table(['PID', 'PPID', 'UID', 'STATE', 'CPU', 'MEMORY', 'AGE', 'COMMAND'], cells))
  }
  return 0
}
