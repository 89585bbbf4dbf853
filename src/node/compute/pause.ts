import { ZosError } from '#codec'
import { sleep } from '#sys'
import { connect } from './connect.ts'
import { openPorts, restartLater } from './start.ts'
import { watch } from './watch.ts'
import { agentOf, save, type Workload } from './workload.ts'

/** A write that was held back is tried again within this time. Milliseconds. */
const TRIED_AGAIN = 300

/** Freezes its machine where it is. */
export async function pause(workload: Workload): Promise<void> {
  agentOf(workload)
  await workload.machine!.pause()
  await save(workload, { state: 'paused' })
}

/** Lets it go on; throws `disk-full` when it stopped for want of room and there is still none. */
export async function unpause(workload: Workload): Promise<void> {
  const { spec, status } = workload
  if (status.state !== 'paused') {
    throw new ZosError(`Unpause workload "${spec.name}": it is ${status.state}, not paused`, { code: 'not-paused' })
  }
  await save(workload, { state: 'running', reason: '' })
  await workload.machine!.resume()
  if (status.reason === '') return
  await sleep(TRIED_AGAIN)
  const now = workload.status
  if (now.state === 'paused') {
    throw new ZosError(`Unpause workload "${spec.name}": ${now.reason}`, { code: 'disk-full', kind: 'node' })
  }
  // a daemon that was started meanwhile found a machine that did not answer
  if (workload.agent || now.state !== 'running') return
  workload.agent = await connect(workload, workload.machine!, false)
  await openPorts(workload, now.hostPorts)
  watch(workload, restartLater)
}
