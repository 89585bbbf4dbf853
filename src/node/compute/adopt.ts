import { reasonOf } from '#codec'
import { sleep } from '#sys'
import { connect } from './connect.ts'
import { tellLease } from './lease.ts'
import type { Machine } from './parts.ts'
import { watchStall } from './stall.ts'
import { openPorts, plugIn, restartLater, startByPolicy } from './start.ts'
import { ended, machineEnded, watch } from './watch.ts'
import { type Adopting, save, type Workload } from './workload.ts'

/** Milliseconds between two attempts to take a machine up: at first, at most. */
const FIRST_PAUSE = 500
const LONGEST_PAUSE = 10_000

/**
 * Takes up a workload an earlier daemon left: one that runs goes on, one that was just being started ends. Settles when
 * that is done, however long its machine stays silent; never rejects.
 */
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

/** Says that its machine is being taken up, and what ends that. */
function begin(workload: Workload): Adopting {
  const { promise: over, resolve } = Promise.withResolvers<void>()
  const { promise: stalled, resolve: stall } = Promise.withResolvers<void>()
  const giveUp = new AbortController()
  const finish = () => {
    if (workload.adopting === adopting) workload.adopting = undefined
    resolve()
  }
  // what was settled meanwhile needs its machine no more
  giveUp.signal.addEventListener('abort', finish)
  const adopting: Adopting = { step: 'its QEMU', since: performance.now(), over, stalled, stall, giveUp, finish }
  workload.adopting = adopting
  return adopting
}

/** Attempt after attempt, until it is taken up, has ended, or was ended by somebody. Never rejects. */
export async function takeUp(workload: Workload): Promise<void> {
  const { at, spec } = workload
  if (workload.adopting) return workload.adopting.over
  const adopting = begin(workload)
  const { signal } = adopting.giveUp
  let said = ''
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      await attempt(workload, adopting)
      break
    } catch (error) {
      if (signal.aborted) break
      const words = `adopt ${spec.name}: ${adopting.step} does not answer, trying on: ${reasonOf(error)}`
      if (words !== said) at.log(words)
      said = words
    }
    await sleep(pause, signal).catch(() => {})
    if (signal.aborted) break
  }
  adopting.finish()
}

async function attempt(workload: Workload, adopting: Adopting): Promise<void> {
  const { at, spec } = workload
  const { signal } = adopting.giveUp
  const machine = await machineOf(workload, adopting)
  if (signal.aborted) return undefined
  if (!machine) return ended(workload, machineEnded('its machine ended while no daemon ran'), restartLater)
  adopting.step = 'the storage plane'
  await at.storage.bind(machine.exportId, spec.digest)
  // one that stands still does not answer: "unpause" takes up its line
  if (workload.status.state === 'paused') return watchMachine(workload, machine)
  adopting.step = 'the agent in its machine'
  const line = new AbortController()
  const drop = () => line.abort()
  signal.addEventListener('abort', drop)
  const other = Promise.race([adopting.stalled, machine.ended])
  const won = await Promise.race([connect(workload, machine, false, line.signal), other]).finally(() =>
    signal.removeEventListener('abort', drop),
  )
  if (won === undefined || typeof won === 'string') drop()
  if (signal.aborted) return undefined
  if (won === undefined) return watchMachine(workload, machine)
  if (typeof won === 'string') return ended(workload, machineEnded(`its machine ended: ${won}`), restartLater)
  workload.agent = won
  try {
    if (workload.lease !== undefined) await tellLease(won, workload.lease)
  } catch (error) {
    workload.agent = undefined
    drop()
    throw error
  }
  watch(workload, restartLater)
  adopting.finish()
  // whoever took one of its ports meanwhile: it runs on
  await openPorts(workload, workload.status.hostPorts).catch((e: unknown) =>
    at.log(`adopt ${spec.name}: ${reasonOf(e)}`),
  )
}

/** Its machine, found by the first attempt that reaches QEMU; undefined: it has ended. */
async function machineOf(workload: Workload, adopting: Adopting): Promise<Machine | undefined> {
  if (workload.machine) return workload.machine
  const { at, spec, status } = workload
  // nobody else gets them, whatever keeps its machine from answering
  await at.volumes.acquire(spec.id, spec.volumes)
  const step = (what: string) => {
    adopting.step = what
  }
  const machine = await at.machines.adopt(status.machine, { volumes: spec.volumes.length, step })
  if (adopting.giveUp.signal.aborted) await machine?.destroy()
  if (!machine || adopting.giveUp.signal.aborted) return undefined
  workload.machine = machine
  plugIn(workload, machine)
  watchStall(workload, machine, () => workload.adopting?.stall())
  return machine
}

/** Nobody was told that it runs, and nobody knows how far it came: its machine goes, and its status says why. */
async function endHalfStarted(workload: Workload): Promise<void> {
  const { at, spec, status } = workload
  try {
    await at.machines.end(status.machine)
  } catch (error) {
    at.log(`end half-started ${spec.name}: ${reasonOf(error)}`)
  }
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
