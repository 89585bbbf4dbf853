import { ZosError } from '#codec'
import { attach } from './attach.ts'
import { daemonCall, daemonOpen, pathOf } from './daemon.ts'
import { DETACH_FLAG, DETACH_KEYS, parseKeys } from './detach-keys.ts'
import { parseFlags } from './flags.ts'

type Inspected = { Config: { Tty: boolean; OpenStdin: boolean } }

/** Stays with a workload that runs, or that is started: its output, its exit code. */
export async function reattach(
  name: string,
  options: { start: boolean; input: boolean; detachKeys: string | undefined },
): Promise<number> {
  const detachKeys = parseKeys(options.detachKeys ?? DETACH_KEYS)
  const path = pathOf('workloads', name)
  const { Config } = await daemonCall<Inspected>('GET', `${path}/inspect`)
  const socket = await daemonOpen(`${path}/${options.start ? 'run' : 'attach'}`)
  return attach(
    socket,
    {},
    {
      input: options.input && Config.OpenStdin,
      tty: Config.Tty,
      signals: true,
      detachKeys,
    },
  )
}

export default async function attachCommand(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('attach', args, {
    'no-stdin': { kind: 'switch', about: 'do not pass standard input on' },
    'detach-keys': DETACH_FLAG,
  })
  const [name] = rest
  if (!name || rest.length > 1) throw new ZosError('zos attach: name one workload', { code: 'usage' })
  return reattach(name, { start: false, input: !flags['no-stdin'], detachKeys: flags['detach-keys'] })
}
