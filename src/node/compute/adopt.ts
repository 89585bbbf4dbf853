import { reasonOf } from '#codec'
import { connect } from './connect.ts'
import type { Machine } from './parts.ts'
import { watchStall } from './stall.ts'
import { openPorts, plugIn, restartLater, startByPolicy } from './start.ts'
import { ended, machineEnded, reconnect, watch } from './watch.ts'
import { save, type Workload } from './workload.ts'

/** Takes up a workload an earlier daemon left: one that runs goes on, one that was just being started ends. */
export async function adopt(workload: Workload): Promise<void> {
  const { state, machine } = workload.status
  if (state === 'running' || state === 'paused') await takeUp(workload)
  else if (machine !== null) await endHalfStarted(workload)
}

/** After the daemon came up: what should always run, and no person stopped, starts again. */
export function resumePolicy(workload: Workload): void {
  const { spec, status } = workload
  const always = spec.restart.name === 'always' || spec.restart.name === 'unless-stopped'
  if (status.state === 'exited' && always && !status.byHand) startByPolicy(workload)
}

async function takeUp(workload: Workload): Promise<void> {
  const { at, spec } = workload
  try {
    const machine = await find(workload)
    if (!machine) return await ended(workload, machineEnded('its machine ended while no daemon ran'), restartLater)
    workload.machine = machine
    plugIn(workload, machine)
    await at.storage.bind(machine.exportId, spec.digest)
    const stalled = Promise.withResolvers<'stalled'>()
    watchStall(workload, machine, () => stalled.resolve('stalled'))
    const paused = workload.status.state === 'paused'
    // one that stands still for want of room does not answer: "unpause" takes up its line
    if (paused && workload.status.reason !== '') return watchMachine(workload, machine)
    if (paused) await machine.resume()
    const agent = await Promise.race([connect(workload, machine, false), stalled.promise])
    if (agent === 'stalled') return watchMachine(workload, machine)
    workload.agent = agent
    if (paused) await machine.pause()
    await openPorts(workload, workload.status.hostPorts)
    watch(workload, restartLater)
  } catch (error) {
    at.log(`adopt ${spec.name}: ${reasonOf(error)}`)
    if (workload.machine && !workload.agent) await reconnect(workload, workload.machine, restartLater)
  }
}

/** Nobody was told that it runs, and nobody knows how far it came: its machine goes, and its status says why. */
async function endHalfStarted(workload: Workload): Promise<void> {
  const { at, spec } = workload
  try {
    await (await find(workload))?.destroy()
  } catch (error) {
    at.log(`end half-started ${spec.name}: ${reasonOf(error)}`)
  }
  at.volumes.release(spec.id)
  const reason = 'the daemon ended while it was being started'
  const finishedAt = new Date().toISOString()
  await save(workload, { state: 'exited', exitCode: 125, reason, finishedAt, machine: null })
}

/** Of a machine that cannot be spoken with nothing but its end is noticed. */
function watchMachine(workload: Workload, machine: Machine): void {
  void machine.ended.then((reason) => {
    if (workload.machine !== machine || workload.agent || workload.removed) return undefined
    return ended(workload, machineEnded(`its machine ended: ${reason}`), restartLater)
  })
}

async function find(workload: Workload): Promise<Machine | undefined> {
  const { at, spec, status } = workload
  const volumes = await at.volumes.acquire(spec.id, spec.volumes)
  return at.machines.adopt(status.machine, { volumes })
}
