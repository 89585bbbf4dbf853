import { reasonOf } from '#codec'
import { sleep } from '#sys'
import type { Workload } from './workload.ts'

/** How long file systems may take to settle before the machine is switched off. */
const POWER_OFF_GRACE = 10_000

/** Puts the machine away in the background; `start` and removal wait for it. CLEAN: what it wrote may be read again. */
export function settle(workload: Workload, clean: boolean): void {
  const { at, spec, machine, agent, ports } = workload
  const { machine: record } = workload.status
  workload.machine = undefined
  workload.agent = undefined
  workload.ports = undefined
  workload.probing?.abort()
  workload.adopting?.giveUp.abort()
  ports?.close()
  clearTimeout(workload.leaseTimer)
  workload.lease = undefined
  workload.ending = true
  workload.heldUp = ''
  // what nobody will read again need not be written back
  const keeps = clean && (spec.volumes.some((v) => !v.readOnly && !(v.anonymous && spec.remove)) || !spec.remove)
  const putAway = async () => {
    try {
      if (keeps && agent)
        await Promise.race([agent.powerOff(0).catch(() => {}), machine?.ended, sleep(POWER_OFF_GRACE)])
      at.cards.unplug(spec.name)
      // one that was never taken up is known by its record alone
      await (machine ? machine.destroy() : at.machines.end(record))
      await agent?.[Symbol.asyncDispose]()
    } catch (error) {
      at.log(`put away ${spec.name}: ${reasonOf(error)}`)
    } finally {
      workload.log?.close()
      workload.log = undefined
      at.volumes.release(spec.id)
      workload.ending = false
    }
  }
  workload.settled = putAway()
}
