import { reasonOf } from '#codec'
import { sleep } from '#sys'
import type { ExitStatus } from '#vm'
import { keepClock } from './clock.ts'
import { connect } from './connect.ts'
import type { Machine } from './parts.ts'
import { watchHealth } from './probe.ts'
import { restartDelay } from './restart.ts'
import { settle } from './settle.ts'
import { announce, NODE_DOWN, save, type Workload } from './workload.ts'

/** Starts a workload again after DELAY milliseconds. */
export type Restart = (workload: Workload, delay: number) => void

/** What is left to say of a workload whose machine ended below it. */
export const machineEnded = (reason: string): ExitStatus => ({ code: 137, signal: 'KILL', oom: false, reason })

/** Waits in the background for the program or the machine to end, whichever is first; RESTART is its policy's word. */
export function watch(workload: Workload, restart: Restart): void {
  const agent = workload.agent!
  const machine = workload.machine!
  watchHealth(workload)
  keepClock(workload)
  const program = agent.exited.then((exit) => ({ exit }))
  const vm = machine.ended.then((reason) => ({ reason }))
  const line = agent.closed.then(async () => {
    // the program's end closes the line too: it has been told already, or the machine has ended
    await sleep(200)
    return { lost: true as const }
  })
  program.catch(() => {})
  void Promise.race([Promise.race([program, vm]).catch(() => vm), line]).then((end) => {
    if (workload.agent !== agent || workload.removed) return undefined
    if ('lost' in end) return reconnect(workload, machine, restart)
    if ('exit' in end) return ended(workload, end.exit, restart)
    // one that came up while the node went down was not waited for
    return ended(workload, machineEnded(workload.halted ? NODE_DOWN : `its machine ended: ${end.reason}`), restart)
  })
}

/** Takes up the line to a machine that an earlier connection lost; what the guest held meanwhile comes first. */
async function reconnect(workload: Workload, machine: Machine, restart: Restart): Promise<void> {
  try {
    workload.agent = await connect(workload, machine, false)
    watch(workload, restart)
  } catch (error) {
    const reason = await Promise.race([machine.ended, sleep(1000).then(() => '')])
    const words = reason ? `its machine ended: ${reason}` : `its machine does not answer: ${reasonOf(error)}`
    await ended(workload, machineEnded(words), restart)
  }
}

/** It has ended by itself: its status says how, its machine is put away, and its policy says what follows. */
export async function ended(workload: Workload, exit: ExitStatus, restart: Restart): Promise<void> {
  const { spec, status } = workload
  if (status.state === 'exited') return
  const ran = Date.now() - Date.parse(status.startedAt ?? new Date().toISOString())
  const { byHand, restarts } = status
  const delay = restartDelay(spec.restart, { exitCode: exit.code, byHand, ran, restarts })
  settle(workload, true)
  await save(workload, {
    state: 'exited',
    exitCode: exit.code,
    oom: exit.oom,
    reason: exit.oom ? `out of memory: it used more than its ${spec.memory >> 20} MiB` : exit.reason,
    finishedAt: new Date().toISOString(),
    machine: null,
  })
  announce(workload)
  if (delay !== undefined) restart(workload, delay)
}
