import { readdirSync, readFileSync } from 'node:fs'

/** A process that cannot be mistaken for a later one with the same id. */
export type ProcessIdentity = {
  pid: number
  /** Clock ticks after the host's boot: field 22 of /proc/PID/stat (proc_pid_stat(5)). */
  startTime: number
}

/** Of process PID what /proc tells in one line, from field 3 on; undefined when there is none, or only its zombie. */
export function statFields(pid: number): string[] | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // the name in field 2 may hold spaces and parentheses: fields are counted from its last ')'
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields
}

/** Who process PID is now; undefined as statFields. */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid)
  return fields && { pid, startTime: Number(fields[19]) }
}

/** True while exactly this process runs. */
export function isRunning({ pid, startTime }: ProcessIdentity): boolean {
  return identify(pid)?.startTime === startTime
}

/** SIGKILL to exactly this process; nothing happens when it has ended and its id went to another. */
export function killProcess(identity: ProcessIdentity): void {
  if (!isRunning(identity)) return
  try {
    process.kill(identity.pid, 'SIGKILL')
  } catch {
    // it ended in between
  }
}

/** Processes whose arguments contain TEXT: how a new daemon finds what its predecessor left. */
export function processesWith(text: string): { identity: ProcessIdentity; args: string[] }[] {
  const found = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    let line: string
    try {
      line = readFileSync(`/proc/${name}/cmdline`, 'utf8')
    } catch {
      continue
    }
    if (!line.includes(text)) continue
    const identity = identify(Number(name))
    if (identity) found.push({ identity, args: line.split('\0') })
  }
  return found
}
