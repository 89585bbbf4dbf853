import type { FileStat, ProcessRow } from '../src/vm/agent/types.ts'
import { decodeUtf8, encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { KEPT } from './child.ts'
import { entryOf, factsOf, readLink } from './files.ts'
import { list, must, O, open, readBytes, readTextIf, writeAll } from './native.ts'

const say = (value: unknown): void => writeAll(1, encodeUtf8(JSON.stringify(value)))

/** KEPT is our own /proc, opened before the root was changed: it tells where a descriptor leads, as seen from the root. */
export function sayStat(path: string, follow: boolean): void {
  const facts = factsOf(path, path, follow)
  if (!facts) {
    say(null)
    return
  }
  const parent = path.slice(0, path.lastIndexOf('/')) || '/'
  const at = follow || facts.type !== 'symlink' ? path : parent
  const fd = must(`Open ${path}`, open(at, O.PATH))
  const place = readLink(`self/fd/${fd}`, KEPT)
  const stat: FileStat = {
    ...entryOf(facts),
    resolved: at === path ? place : `${place === '/' ? '' : place}/${path.slice(path.lastIndexOf('/') + 1)}`,
  }
  say(stat)
}

export function sayProcesses(): void {
  const uptime = Number(readTextIf('/proc/uptime').split(' ')[0] ?? 0)
  const rows: ProcessRow[] = []
  for (const name of list('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const stat = readTextIf(`/proc/${name}/stat`)
    const end = stat.lastIndexOf(')')
    if (end < 0) continue // it ended in between
    // fields of proc_pid_stat(5) from the third on
    const fields = stat.slice(end + 2).split(' ')
    const status = readTextIf(`/proc/${name}/status`).split('\n')
    const uid = Number((status.find((l) => l.startsWith('Uid:')) ?? '').split('\t')[1] ?? 0)
    rows.push({
      pid,
      ppid: Number(fields[1]),
      uid,
      state: fields[0] ?? '?',
      cpuTicks: Number(fields[11]) + Number(fields[12]),
      rss: Number(fields[21]) * 4096,
      age: Math.max(0, Math.round(uptime - Number(fields[19]) / 100)),
      command: commandOf(name) || `[${stat.slice(stat.indexOf('(') + 1, end)}]`,
    })
  }
  say(rows)
}

function commandOf(pid: string): string {
  try {
    return decodeUtf8(readBytes(`/proc/${pid}/cmdline`, 4096))
      .split('\0')
      .join(' ')
      .trim()
  } catch {
    return ''
  }
}
