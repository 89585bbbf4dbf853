import { ZosError } from '#codec'
import { attach, checkTerminal } from './attach.ts'
import { daemonOpen, pathOf } from './daemon.ts'
import { DETACH_FLAG, DETACH_KEYS, parseKeys } from './detach-keys.ts'
import { parseFlags } from './flags.ts'
import { checkVariable } from './request-values.ts'

const FLAGS = {
  detach: { kind: 'switch', short: 'd', about: 'do not wait for it' },
  interactive: { kind: 'switch', short: 'i', about: 'pass standard input on' },
  tty: { kind: 'switch', short: 't', about: 'give it a terminal' },
  env: { kind: 'list', short: 'e', about: 'NAME=VALUE for the command' },
  workdir: { kind: 'value', short: 'w', about: 'start in this folder' },
  user: { kind: 'value', short: 'u', about: 'USER[:GROUP] by name or number' },
  'detach-keys': DETACH_FLAG,
} as const

export default async function exec(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('exec', args, FLAGS, { stop: true })
  const [name, ...argv] = rest
  if (!name || argv.length === 0)
    throw new ZosError('zos exec: write zos exec [FLAGS] WORKLOAD COMMAND…', { code: 'usage' })
  checkTerminal('exec', flags)
  const request = {
    argv,
    env: flags.env.map(checkVariable),
    cwd: flags.workdir,
    user: flags.user,
    stdin: flags.interactive,
    detach: flags.detach,
    tty: flags.tty ? { rows: process.stdout.rows ?? 24, columns: process.stdout.columns ?? 80 } : null,
  }
  const socket = await daemonOpen(`${pathOf('workloads', name)}/exec`)
  return attach(socket, request, {
    input: flags.interactive,
    tty: flags.tty,
    signals: true,
    detachKeys: parseKeys(flags['detach-keys'] ?? DETACH_KEYS),
  })
}
