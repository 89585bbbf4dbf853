import type { Window } from '../src/vm/agent/types.ts'
import { must, nonblocking, O, open, sys } from './native.ts'
import { TREE } from './tree.ts'

const TIOCSPTLCK = 0x40045431
const TIOCGPTPEER = 0x5441
const TIOCSWINSZ = 0x5414

/** A terminal of the workload's own devpts: [our side, the program's side]. */
export function openPty(window: Window): [number, number] {
  const master = must('Open a terminal', open(`${TREE}/dev/pts/ptmx`, O.RDWR | O.NOCTTY))
  must('Unlock the terminal', sys('ioctl', master, TIOCSPTLCK, new Uint8Array(4)))
  const slave = must('Open the terminal', sys('ioctl', master, TIOCGPTPEER, O.RDWR | O.NOCTTY | O.CLOEXEC))
  resizePty(master, window)
  nonblocking(master)
  return [master, slave]
}

export function resizePty(master: number, window: Window): void {
  const size = new Uint8Array(8)
  const view = new DataView(size.buffer)
  view.setUint16(0, window.rows, true)
  view.setUint16(2, window.columns, true)
  sys('ioctl', master, TIOCSWINSZ, size)
}
