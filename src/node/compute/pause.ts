import { ZosError } from '#codec'
import { agentOf, save, type Workload } from './workload.ts'

/** Freezes its machine where it is. */
export async function pause(workload: Workload): Promise<void> {
  agentOf(workload)
  await workload.machine!.pause()
  await save(workload, { state: 'paused' })
}

export async function unpause(workload: Workload): Promise<void> {
  const { spec, status } = workload
  if (status.state !== 'paused') {
    throw new ZosError(`Unpause workload "${spec.name}": it is ${status.state}, not paused`, { code: 'not-paused' })
  }
  await workload.machine!.resume()
  await save(workload, { state: 'running' })
}
