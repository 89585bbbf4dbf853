import { codeOf, reasonOf, ZosError } from '#codec'
import { daemonCall, pathOf } from './daemon.ts'
import { DETACH_FLAG } from './detach-keys.ts'
import { type Flags, parseFlags } from './flags.ts'

/** Does ACT to each name side by side; prints the names of those that worked, or what it gave, and a line for each that did not. */
export async function forEach(
  command: string,
  names: string[],
  act: (path: string) => Promise<string | undefined>,
): Promise<number> {
  if (names.length === 0)
    throw new ZosError(`zos ${command}: name a workload ("zos ps -a" lists them)`, { code: 'usage' })
  const results = await Promise.allSettled(names.map(async (n) => act(pathOf('workloads', n))))
  for (const [i, result] of results.entries()) {
    if (result.status === 'fulfilled') process.stdout.write(result.value ?? `${names[i]}\n`)
    else process.stderr.write(`zos: ${reasonOf(result.reason)}\n`)
  }
  return results.every((r) => r.status === 'fulfilled') ? 0 : 1
}

const simple = (command: string) => async (args: string[]) =>
  forEach(command, parseFlags(command, args, {}).rest, (path) => daemonCall('POST', `${path}/${command}`))

export const pause = simple('pause')
export const unpause = simple('unpause')

/** Flags that only the main job has. */
const MAIN_JOB = /^(--once|--yes|-y|--port|-p|--help$|-h$)/
const START = {
  attach: { kind: 'switch', short: 'a', about: 'stay with it: its output, signals, its exit code' },
  interactive: { kind: 'switch', short: 'i', about: 'pass standard input on' },
  'detach-keys': DETACH_FLAG,
} as const satisfies Flags

/** Workloads that were stopped or created; with no name it is the main job of `npm start`. */
export async function start(args: string[]): Promise<number> {
  const named = args.some((word) => !word.startsWith('-')) && !args.some((word) => MAIN_JOB.test(word))
  if (!named) return (await import('./start.ts')).default(args)
  const { flags, rest } = parseFlags('start', args, START)
  if (!flags.attach && !flags.interactive) return forEach('start', rest, (path) => daemonCall('POST', `${path}/start`))
  if (rest.length !== 1) throw new ZosError('zos start: -a and -i take one workload', { code: 'usage' })
  return (await import('./reattach.ts')).reattach(rest[0]!, {
    start: true,
    input: flags.interactive,
    detachKeys: flags['detach-keys'],
  })
}

const TIME = { time: { kind: 'value', short: 't', about: 'seconds of grace before KILL' } } as const satisfies Flags

function seconds(command: string, text: string | undefined): { timeout?: number } {
  if (text === undefined) return {}
  const timeout = Number(text)
  if (!(timeout >= 0))
    throw new ZosError(`zos ${command}: --time "${text}" is not a number of seconds`, { code: 'usage' })
  return { timeout }
}

export async function stop(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('stop', args, TIME)
  const body = seconds('stop', flags.time)
  return forEach('stop', rest, (path) => daemonCall('POST', `${path}/stop`, body))
}

export async function restart(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('restart', args, TIME)
  const body = seconds('restart', flags.time)
  return forEach('restart', rest, (path) => daemonCall('POST', `${path}/restart`, body))
}

export async function kill(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('kill', args, { signal: { kind: 'value', short: 's', about: 'which signal' } })
  return forEach('kill', rest, (path) => daemonCall('POST', `${path}/kill`, { signal: flags.signal ?? 'SIGKILL' }))
}

export async function remove(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('rm', args, {
    force: { kind: 'switch', short: 'f', about: 'end it first if it runs' },
    volumes: { kind: 'switch', short: 'v', about: 'with the volumes that have no name' },
  })
  return forEach('rm', rest, async (path) => {
    try {
      return await daemonCall<undefined>('DELETE', `${path}?force=${flags.force}&volumes=${flags.volumes}`)
    } catch (error) {
      // as with Docker: what is not there needs no force
      if (!flags.force || codeOf(error) !== 'no-such-workload') throw error
      process.stderr.write(`zos: ${reasonOf(error)}\n`)
      return ''
    }
  })
}
