import { signalNumber } from '../src/vm/agent/signals.ts'
import { killAll, populated } from './cgroup.ts'
import { after } from './loop.ts'
import { sys } from './native.ts'
import { dismantleTree } from './tree.ts'
import { releaseNamespaces } from './waiting.ts'
import { main } from './workload.ts'

const POWER_OFF = 0x4321fedc

/** SIGNAL to the main process, after GRACEMS the end of all of them, then everything on disk and power off. */
export function powerOff(graceMs: number, signal: string): void {
  let left = graceMs
  if (main.phase === 'running') sys('kill', main.pid, signalNumber(signal) || 15)
  const wait = (): void => {
    if (main.phase !== 'running' && main.phase !== 'starting') end()
    else if (left <= 0) {
      killAll()
      after(20, end)
    } else {
      left -= 20
      after(20, wait)
    }
  }
  // the answer to this request goes out first
  after(1, wait)
}

/** Whatever holds a mount has to be gone first; a process in an uninterruptible wait is not waited for for ever. */
function end(tries = 100): void {
  if (populated() && tries > 0) {
    killAll()
    after(20, () => end(tries - 1))
    return
  }
  releaseNamespaces()
  try {
    dismantleTree()
  } finally {
    sys('sync')
    sys('reboot', 0xfee1dead, 672274793, POWER_OFF, null)
  }
}
