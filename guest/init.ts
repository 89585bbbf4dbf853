import { underWay } from './child.ts'
import { E, exit, must, sys } from './native.ts'

const SIGCHLD = 17

/** PID 1 of a workload that asked for one (`--init`): passes signals on to CHILD, buries orphans, ends as CHILD ends. */
export function supervise(child: number): never {
  underWay()
  const all = new Uint8Array(8).fill(255)
  sys('rt_sigprocmask', 0, all, null, 8)
  const fd = must('Make a signalfd', sys('signalfd4', -1, all, 8, 0))
  const info = new Uint8Array(128)
  const status = new Uint8Array(4)
  for (;;) {
    if (sys('read', fd, info, info.length) < 0) continue
    const signal = info[0]!
    if (signal !== SIGCHLD) {
      sys('kill', child, signal)
      continue
    }
    for (;;) {
      const pid = sys('wait4', -1, status, 1, null)
      if (pid <= 0 && pid !== -E.EINTR) break
      if (pid === child) exit((status[0]! & 0x7f) === 0 ? status[1]! : 128 + (status[0]! & 0x7f))
    }
  }
}
