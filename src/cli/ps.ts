import { ZosError } from '#codec'
import type { WorkloadView } from '#wire'
import { daemonCall } from './daemon.ts'
import { JSON_FLAG, onlyFlags } from './flags.ts'
import { listFormatter } from './format.ts'
import { filterOf } from './ps-filter.ts'
import { cut, table } from './terminal.ts'

/** Characters of a command that fit a row. */
const COMMAND_WIDTH = 40
/** Of why something does not run; `zos inspect`, --json and --no-trunc have all of it. */
const REASON_WIDTH = 40

function ago(time: string): string {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000)
  if (seconds < 120) return `${Math.floor(seconds)} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86400)} d`
}

function stateText(w: WorkloadView, whole: boolean): string {
  const short = (reason: string) => (whole ? reason : cut(reason, REASON_WIDTH))
  if (w.state === 'running' && w.startedAt) return `running ${ago(w.startedAt)}${w.health ? ` (${w.health})` : ''}`
  if (w.state === 'exited') {
    // the number stands there already
    const reason = w.reason.startsWith(`exit code ${w.exitCode}`)
      ? w.reason.replace(/^exit code \d+(; )?/, '')
      : w.reason
    return `exited (${w.exitCode}) ${ago(w.finishedAt ?? w.createdAt)} ago${reason && `: ${short(reason)}`}`
  }
  return w.reason && w.state === 'paused' ? `paused: ${short(w.reason)}` : w.state
}

function dockerStatus(w: WorkloadView): string {
  if (w.state === 'created') return 'Created'
  if (w.state === 'exited') return `Exited (${w.exitCode}) ${ago(w.finishedAt ?? w.createdAt)} ago`
  const more = w.state === 'paused' ? 'Paused' : w.health === 'starting' ? 'health: starting' : w.health
  return `Up ${ago(w.startedAt ?? w.createdAt)}${more ? ` (${more})` : ''}`
}

/** Nothing leads to what does not run, as Docker has it. */
const portsOf = (w: WorkloadView): string[] => (w.state === 'running' || w.state === 'paused' ? w.ports : [])

/** A row of the table; WHOLE: nothing in it is shortened. */
export const rowOf = (w: WorkloadView, whole: boolean): string[] => [
  whole ? w.id : w.id.slice(0, 12),
  w.name,
  w.image,
  stateText(w, whole),
  portsOf(w).join(' '),
  whole ? w.command : cut(w.command, COMMAND_WIDTH),
]

/** A row in Docker's words, for --format. */
const dockerRow = (w: WorkloadView, whole: boolean) => ({
  ID: whole ? w.id : w.id.slice(0, 12),
  Names: w.name,
  Image: w.image,
  Command: JSON.stringify(whole ? w.command : cut(w.command, COMMAND_WIDTH)),
  CreatedAt: w.createdAt,
  RunningFor: `${ago(w.createdAt)} ago`,
  State: w.state,
  Status: dockerStatus(w),
  Ports: portsOf(w)
    .map((p) => `${p}/tcp`)
    .join(', '),
  Labels: Object.entries(w.labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(','),
})

function chosen(all: WorkloadView[], flags: { all: boolean; filter: string[]; last: string | undefined }) {
  const last = flags.last === undefined ? undefined : Number(flags.last)
  if (last !== undefined && !(Number.isInteger(last) && last > 0))
    throw new ZosError(`zos ps: --last "${flags.last}" is not a number of workloads`, { code: 'usage' })
  const { fits, everyState } = filterOf(flags.filter)
  const found = all.filter(fits)
  if (last !== undefined) return found.slice(0, last)
  return flags.all || everyState ? found : found.filter((w) => w.state === 'running' || w.state === 'paused')
}

export default async function ps(args: string[]): Promise<number> {
  const flags = onlyFlags('ps', args, {
    all: { kind: 'switch', short: 'a', about: 'also those that do not run' },
    filter: {
      kind: 'list',
      short: 'f',
      about: 'name=, id=, status=, label=, ancestor=, health= or exited=; only those',
    },
    format: { kind: 'value', about: 'json, or such as {{.Names}}: {{.Status}}' },
    last: { kind: 'value', short: 'n', about: 'the N created last, whatever their state' },
    'no-trunc': { kind: 'switch', about: 'ids, commands and reasons whole' },
    quiet: { kind: 'switch', short: 'q', about: 'ids alone' },
    json: JSON_FLAG,
  })
  const text = flags.format === undefined || flags.format === 'table' ? undefined : listFormatter(flags.format)
  const shown = chosen(await daemonCall<WorkloadView[]>('GET', '/workloads'), flags)
  const idOf = (w: WorkloadView) => (flags['no-trunc'] ? w.id : w.id.slice(0, 12))
  if (flags.json) process.stdout.write(`${JSON.stringify(shown)}\n`)
  else if (flags.quiet) process.stdout.write(shown.map((w) => `${idOf(w)}\n`).join(''))
  else if (text) process.stdout.write(text(shown.map((w) => dockerRow(w, flags['no-trunc']))))
  else {
    const rows = shown.map((w) => rowOf(w, flags['no-trunc']))
    process.stdout.write(table(['ID', 'NAME', 'IMAGE', 'STATE', 'PORTS', 'COMMAND'], rows))
  }
  return 0
}
