import { type Agent, connectAgent } from '#vm'
import type { Machine } from './parts.ts'
import { openLog, type Workload } from './workload.ts'

/** Opens the line to MACHINE; what the guest holds of the output goes to the log and whoever is attached. SIGNAL closes it. */
export function connect(workload: Workload, machine: Machine, fresh: boolean, signal?: AbortSignal): Promise<Agent> {
  const base = workload.status.outputBase
  return connectAgent(machine.agentSocket, {
    fresh,
    ...(signal ? { signal } : {}),
    resumeFrom: openLog(workload).end - base,
    onOutput: async ({ channel, offset, data }) => {
      const log = openLog(workload)
      const known = Math.max(0, log.end - (base + offset))
      log.append(channel === 'stdout' ? 1 : 2, base + offset, data)
      const unseen = data.subarray(known)
      // written first, so that whoever attached sees nothing that a killed daemon would forget
      if (workload.sinks.size > 0 && unseen.length > 0)
        await Promise.all([...workload.sinks].map((s) => s(channel, Buffer.from(unseen))))
      workload.agent?.ack(offset + data.length)
    },
  })
}
