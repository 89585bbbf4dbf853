import { bootClock } from '#sys'
import type { Agent } from '#vm'
import type { Workload } from './workload.ts'

/** A guest that has not ended its workload by then is ended as a machine. Milliseconds behind the lease's end. */
const LATE = 1000

/**
 * Tells the guest until when (bootClock) its workload may run. Its clock is asked for first: what it answered lies before
 * the moment the answer is here, so its end is never later than ours.
 */
export async function tellLease(agent: Agent, until: number): Promise<void> {
  const { now } = await agent.lease(null)
  await agent.lease(until + now - bootClock())
}

/** The workload may run until UNTIL; later words count. Its guest holds to it if all of this node stands still. */
export async function grant(workload: Workload, until: number): Promise<void> {
  workload.lease = until
  clearTimeout(workload.leaseTimer)
  workload.leaseTimer = setTimeout(
    () => {
      workload.at.log(`${workload.spec.name}: its lease is over`)
      void (workload.machine?.destroy() ?? workload.at.machines.end(workload.status.machine))
    },
    until - bootClock() + LATE,
  )
  if (workload.agent && workload.status.state === 'running') await tellLease(workload.agent, until)
}
