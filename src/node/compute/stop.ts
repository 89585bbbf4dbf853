import { rmSync } from 'node:fs'
import { ZosError } from '#codec'
import { sleep, within } from '#sys'
import { takeUp } from './adopt.ts'
import { unpause } from './pause.ts'
import { settle } from './settle.ts'
import { restartLater } from './start.ts'
import { ended, machineEnded } from './watch.ts'
import {
  agentOf,
  announce,
  dropRestart,
  folderFor,
  NODE_DOWN,
  reach,
  save,
  type Workload,
  waitExit,
} from './workload.ts'

/** After KILL the guest answers in milliseconds; if not, the machine itself is ended. */
const KILL_GRACE = 5_000

const isUp = ({ status }: Workload): boolean => status.state === 'running' || status.state === 'paused'

/** NAME: `TERM`, `SIGTERM` or a number as text. */
export async function signal(workload: Workload, name: string): Promise<void> {
  await (await reach(workload)).signal(name)
}

/** The stop signal, TIMEOUT seconds of grace, then KILL. One whose machine stays silent is ended with it. */
export async function stop(workload: Workload, timeout = workload.spec.stopTimeout): Promise<void> {
  const pending = workload.restartTimer !== undefined || workload.starting !== undefined
  dropRestart(workload)
  await workload.starting?.catch(() => {})
  // one that could not be started was to be tried again
  dropRestart(workload)
  const grace = sleep(timeout * 1000)
  await Promise.race([workload.adopting?.over, grace])
  if (workload.status.state === 'paused' && !workload.adopting) {
    await unpause(workload).catch((error: unknown) => {
      if (!workload.adopting) throw error
    })
  }
  if (workload.adopting) return kill(workload)
  if (workload.status.state !== 'running') {
    if (pending) await save(workload, { byHand: true })
    return
  }
  await save(workload, { byHand: true })
  const gone = waitExit(workload)
  try {
    await agentOf(workload).signal(workload.spec.stopSignal)
    if ((await Promise.race([gone, grace])) === undefined) await kill(workload)
  } catch (error) {
    // it has ended by itself meanwhile: that is what was asked for
    if (isUp(workload)) throw error
  }
  await gone
  await workload.settled
}

/** KILL, whatever state it is in; exit code 137. */
export async function kill(workload: Workload): Promise<void> {
  const { spec, status } = workload
  dropRestart(workload)
  if (!isUp(workload)) {
    throw new ZosError(`Kill workload "${spec.name}": it is ${status.state}, not running`, { code: 'not-running' })
  }
  const gone = waitExit(workload)
  await save(workload, { byHand: true })
  const grace = sleep(KILL_GRACE)
  await Promise.race([workload.adopting?.over, grace])
  const { agent, machine } = workload
  if (status.state === 'running') void agent?.signal('KILL').catch(() => {})
  if (workload.adopting) await ended(workload, machineEnded('killed; its machine did not answer'), restartLater)
  else if (status.state === 'paused' || (await Promise.race([gone, grace])) === undefined) await machine?.destroy()
  await gone
  await workload.settled
}

/** Gives the guest of one that is frozen, or not taken up yet, a chance to settle its file systems. */
async function thaw(workload: Workload): Promise<void> {
  const { status, machine } = workload
  if (status.state === 'paused') {
    await machine?.resume().catch(() => {})
    if (status.reason !== '') return
    workload.status = { ...status, state: 'running' }
  }
  if (!workload.agent) await within(KILL_GRACE, takeUp(workload))
}

/** The node goes down: its machine goes, it stays. */
export async function halt(workload: Workload): Promise<void> {
  workload.halted = true
  dropRestart(workload)
  if (isUp(workload)) {
    await thaw(workload)
    settle(workload, true)
    const finishedAt = new Date().toISOString()
    await save(workload, { state: 'exited', exitCode: 137, reason: NODE_DOWN, finishedAt, machine: null })
    announce(workload)
  }
  await workload.settled
}

/** How a workload goes: FORCE ends one that runs; with VOLUMES those that were made for it alone go too. */
export type Removal = { force: boolean; volumes: boolean }

/** Ends it if need be and forgets it. */
export async function remove(workload: Workload, { force, volumes }: Removal): Promise<void> {
  // a machine that is on its way to it would outlive it
  await workload.starting?.catch(() => {})
  const { at, spec, status } = workload
  if (isUp(workload)) {
    if (!force) {
      throw new ZosError(
        `Remove workload "${spec.name}": it is ${status.state}; stop it first, or "zos rm -f ${spec.name}"`,
        { code: 'still-running' },
      )
    }
    workload.removed = true
    settle(workload, false)
    workload.status = { ...status, state: 'exited', exitCode: 137, reason: 'removed', machine: null }
    announce(workload)
  }
  dropRestart(workload)
  workload.removed = true
  await workload.settled
  if (volumes) for (const v of spec.volumes) if (v.anonymous) at.volumes.removeFree(v.source, spec.id)
  rmSync(folderFor(workload), { recursive: true, force: true })
}
