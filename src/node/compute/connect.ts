import { codeOf, reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { type Agent, connectAgent } from '#vm'
import type { Machine } from './parts.ts'
import { openLog, type Workload } from './workload.ts'

/** Until output that the disk had no room for is written again. Milliseconds. */
const APPEND_AGAIN = 500

/** Appends to the log; while the disk is full it waits, and the guest, which gets no acknowledgement, holds its program. */
async function append(
  workload: Workload,
  machine: Machine,
  stream: 1 | 2,
  offset: number,
  data: Buffer,
): Promise<void> {
  for (;;) {
    try {
      openLog(workload).append(stream, offset, data)
      workload.heldUp = ''
      return
    } catch (error) {
      if (codeOf(error) !== 'disk-full') throw error
      if (workload.heldUp === '') workload.at.log(`${workload.spec.name}: ${reasonOf(error)}`)
      workload.heldUp = `its output waits: ${reasonOf(error)}`
    }
    await sleep(APPEND_AGAIN)
    // put away meanwhile: its log is closed
    if (workload.machine !== machine || workload.removed)
      throw new ZosError('Keep output: its machine has ended', { code: 'output-lost', kind: 'node' })
  }
}

/** Opens the line to MACHINE; what the guest holds of the output goes to the log and whoever is attached. SIGNAL closes it. */
export function connect(workload: Workload, machine: Machine, fresh: boolean, signal?: AbortSignal): Promise<Agent> {
  const base = workload.status.outputBase
  return connectAgent(machine.agentSocket, {
    fresh,
    ...(signal ? { signal } : {}),
    resumeFrom: openLog(workload).end - base,
    onOutput: async ({ channel, offset, data }) => {
      const known = Math.max(0, openLog(workload).end - (base + offset))
      await append(workload, machine, channel === 'stdout' ? 1 : 2, base + offset, data)
      const unseen = data.subarray(known)
      // written first, so that whoever attached sees nothing that a killed daemon would forget
      if (workload.sinks.size > 0 && unseen.length > 0)
        await Promise.all([...workload.sinks].map((s) => s(channel, Buffer.from(unseen))))
      workload.agent?.ack(offset + data.length)
    },
  })
}
