import { ZosError } from '#codec'
import { attach } from './attach.ts'
import { daemonOpen } from './daemon.ts'
import { parseFlags } from './flags.ts'

const FLAGS = {
  detach: { kind: 'switch', short: 'd' },
  interactive: { kind: 'switch', short: 'i' },
  tty: { kind: 'switch', short: 't' },
  env: { kind: 'list', short: 'e' },
  workdir: { kind: 'value', short: 'w' },
  user: { kind: 'value', short: 'u' },
} as const

export default async function exec(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('exec', args, FLAGS, { stop: true })
  const [name, ...argv] = rest
  if (!name || argv.length === 0)
    throw new ZosError('zos exec: write zos exec [FLAGS] WORKLOAD COMMAND…', { code: 'usage' })
  const request = {
    argv,
    env: flags.env,
    cwd: flags.workdir,
    user: flags.user,
    stdin: flags.interactive,
    detach: flags.detach,
    tty: flags.tty ? { rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 } : null,
  }
  const socket = await daemonOpen(`/workloads/${encodeURIComponent(name)}/exec`)
  return attach(socket, request, { input: flags.interactive, tty: flags.tty })
}
