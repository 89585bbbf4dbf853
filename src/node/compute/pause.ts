import { ZosError } from '#codec'
import { sleep, within } from '#sys'
import { takeUp } from './adopt.ts'
import { setClock } from './clock.ts'
import { reach, save, takenUp, type Workload } from './workload.ts'

/** A write that was held back is tried again within this time. Milliseconds. */
const TRIED_AGAIN = 300

/** How long its clock is waited for. Milliseconds. */
const CLOCK = 2000

/** Freezes its machine where it is. */
export async function pause(workload: Workload): Promise<void> {
  await reach(workload)
  await workload.machine!.pause()
  await save(workload, { state: 'paused' })
}

/** Lets it go on; throws `disk-full` when it stopped for want of room and there is still none. */
export async function unpause(workload: Workload): Promise<void> {
  const { spec, status } = workload
  if (status.state !== 'paused') {
    throw new ZosError(`Unpause workload "${spec.name}": it is ${status.state}, not paused`, { code: 'not-paused' })
  }
  await takenUp(workload)
  await save(workload, { state: 'running', reason: '' })
  await workload.machine!.resume()
  if (status.reason !== '') {
    await sleep(TRIED_AGAIN)
    const now = workload.status
    if (now.state === 'paused') {
      throw new ZosError(`Unpause workload "${spec.name}": ${now.reason}`, { code: 'disk-full', kind: 'node' })
    }
  }
  // a daemon that was started meanwhile found a machine that stood still
  if (!workload.agent && workload.status.state === 'running') {
    void takeUp(workload)
    await takenUp(workload)
  }
  // its clock stood still, too
  if (workload.agent) await within(CLOCK, setClock(workload.agent))
}
