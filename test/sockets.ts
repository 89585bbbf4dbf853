// Which sockets a process has, looked up by inode in its own network namespace.
import { spawnSync } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'

function inodes(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
    } catch {
      return []
    }
  })
}

function ss(pid: number, flags: string[]): string[] {
  const r = spawnSync('nsenter', ['--net', '--target', String(pid), 'ss', ...flags])
  if (r.status !== 0) throw new Error(`ss ${flags.join(' ')}: ${r.stderr}`)
  return String(r.stdout).split('\n').filter(Boolean)
}

/** Lines of `ss` for sockets of PID that are no unix ones: TCP, UDP, raw (-w), packet (-0), vsock. LISTENING: only those. */
export function networkSockets(pid: number, listening = false): string[] {
  const own = inodes(pid)
  const state = listening ? 'l' : 'a'
  const lines = [
    ...ss(pid, [`-H${state}ntuwe`]),
    ...ss(pid, [`-H${state}0e`]),
    ...ss(pid, [`-H${state}`, '--vsock', '-e']),
  ]
  return lines.filter((line) => own.some((inode) => new RegExp(`ino:${inode}\\b`).test(line)))
}
