import type { WorkloadView } from '#wire'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, parseFlags } from './flags.ts'
import { table } from './terminal.ts'

function ago(time: string): string {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000)
  if (seconds < 120) return `${Math.floor(seconds)} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86400)} d`
}

function stateText(w: WorkloadView): string {
  if (w.state === 'running' && w.startedAt) return `running ${ago(w.startedAt)}`
  if (w.state === 'exited') return `exited (${w.exitCode}): ${w.reason}`
  return w.state
}

export default async function ps(args: string[]): Promise<number> {
  const { flags } = parseFlags('ps', args, {
    all: { kind: 'switch', short: 'a', about: 'also those that do not run' },
    quiet: { kind: 'switch', short: 'q', about: 'ids alone' },
    json: JSON_FLAG,
  })
  const all = await daemonCall<WorkloadView[]>('GET', '/workloads')
  const shown = flags.all ? all : all.filter((w) => w.state === 'running' || w.state === 'paused')
  if (flags.json) process.stdout.write(`${JSON.stringify(shown)}\n`)
  else if (flags.quiet) process.stdout.write(shown.map((w) => `${w.id.slice(0, 12)}\n`).join(''))
  else {
    const rows = shown.map((w) => [w.id.slice(0, 12), w.name, w.image, stateText(w), w.ports.join(' '), w.command])
    process.stdout.write(table(['ID', 'NAME', 'IMAGE', 'STATE', 'PORTS', 'COMMAND'], rows))
  }
  return 0
}
