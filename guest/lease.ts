import { Failure } from './failure.ts'
import { after, cancel } from './loop.ts'
import { must, now, sys } from './native.ts'

const SCHED_FIFO = 1
/** Not for the workload: sched(7). */
const RESET_ON_FORK = 0x40000000
const KILL = 9

let until = Number.POSITIVE_INFINITY
let timer: ReturnType<typeof after> | null = null

/** Throws once the workload's lease is over; a workload that was given none needs none. */
export function checkLease(): void {
  if (now() >= until) throw new Failure('lease-over', 'Start the workload: its lease is over')
}

/**
 * The workload may run until TO (milliseconds of this machine's clock) and no longer, whatever becomes of the host; null
 * asks for the clock alone. A machine that was stopped over its lease's end finds it over before the workload goes on:
 * from the first lease on PID 1 is scheduled before everything else. PID: of the main process, 0 while there is none.
 */
export function lease(to: number | null, pid: () => number): number {
  const at = now()
  if (to === null) return at
  if (timer === null) {
    const priority = new Uint8Array(4)
    priority[0] = 1
    must('Be scheduled first', sys('sched_setscheduler', 0, SCHED_FIFO | RESET_ON_FORK, priority))
  }
  cancel(timer)
  until = to
  timer = after(to - at, () => {
    // the first of its PID namespace: the kernel ends all of it
    if (pid() > 0) sys('kill', pid(), KILL)
  })
  return at
}
