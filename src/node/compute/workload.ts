import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { codeOf, reasonOf, ZosError } from '#codec'
import { sleep, within } from '#sys'
import type { Agent } from '#vm'
import type { WorkloadView } from '#wire'
import type { Cards } from './cards.ts'
import type { Health } from './health.ts'
import { OutputLog } from './output-log.ts'
import type { Machine, Machines, Storage } from './parts.ts'
import type { Published } from './ports.ts'
import type { Sink } from './sinks.ts'
import type { WorkloadSpec } from './spec.ts'
import { FRESH, folderOf, saveStatus, type WorkloadStatus } from './store.ts'
import type { Volumes } from './volumes.ts'

export type Surroundings = {
  home: string
  machines: Machines
  storage: Storage
  volumes: Volumes
  cards: Cards
  log: (line: string) => void
}

/** A machine of an earlier daemon that is being taken up. */
export type Adopting = {
  /** What is waited for, in words that go before "does not answer". */
  step: string
  /** Of performance.now(). */
  since: number
  /** Settles when it is taken up, has ended, or was given up; never rejects. */
  over: Promise<void>
  finish: () => void
  /** Settles when it is found standing still for want of room. */
  stalled: Promise<void>
  stall: () => void
  giveUp: AbortController
}

/** One workload from creation to removal: its spec never changes, its status says what is so. */
export type Workload = {
  readonly at: Surroundings
  readonly spec: WorkloadSpec
  status: WorkloadStatus
  /** While it has a machine; set from the moment one was got for it. */
  machine: Machine | undefined
  agent: Agent | undefined
  adopting: Adopting | undefined
  log: OutputLog | undefined
  ports: Published | undefined
  /** Runs out when it starts again by its policy. */
  restartTimer: NodeJS.Timeout | undefined
  /** Until when it may run (bootClock), of one that needs a lease; and what ends it behind that. */
  lease: number | undefined
  leaseTimer: NodeJS.Timeout | undefined
  starting: Promise<void> | undefined
  /** What its checks said since its start, as far as this daemon saw them; and what ends them. */
  health: Health
  probing: AbortController | undefined
  readonly sinks: Set<Sink>
  readonly waiters: Set<(status: WorkloadStatus) => void>
  /** Settles when the machine of an ended workload is put away. */
  settled: Promise<void>
  /** Ended, its machine not yet put away: its volumes are free soon. */
  ending: boolean
  /** Its folder goes or is gone: nothing may be written there. */
  removed: boolean
  /** The node goes down: nothing starts it again. */
  halted: boolean
  /** Its status is not on disk, which is full. */
  unsaved: boolean
  /** Why its output is not kept now, and its program stands still at it; '' while it is. */
  heldUp: string
}

export function openWorkload(at: Surroundings, spec: WorkloadSpec, status: WorkloadStatus = { ...FRESH }): Workload {
  return {
    at,
    spec,
    status,
    machine: undefined,
    agent: undefined,
    adopting: undefined,
    log: undefined,
    ports: undefined,
    restartTimer: undefined,
    lease: undefined,
    leaseTimer: undefined,
    starting: undefined,
    health: { status: status.health ?? 'starting', failingStreak: 0, log: [] },
    probing: undefined,
    sinks: new Set(),
    waiters: new Set(),
    settled: Promise.resolve(),
    ending: false,
    removed: false,
    halted: false,
    unsaved: false,
    heldUp: '',
  }
}

export const folderFor = ({ at, spec }: Workload): string => folderOf(at.home, spec.id)

export const logPath = (workload: Workload): string => join(folderFor(workload), 'output.log')

/** Its log, opened by the first who asks; closed when its machine is put away. */
export function openLog(workload: Workload): OutputLog {
  workload.log ??= new OutputLog(logPath(workload))
  return workload.log
}

/** The line to a running workload; throws `not-running` or `paused`. */
export function agentOf({ agent, spec, status }: Workload): Agent {
  if (status.state === 'paused') {
    const why = status.reason || `"zos unpause ${spec.name}" first`
    throw new ZosError(`Reach workload "${spec.name}": it is paused: ${why}`, { code: 'paused' })
  }
  if (!agent || status.state === 'exited' || status.state === 'created') {
    throw new ZosError(
      `Reach workload "${spec.name}": it is ${status.state}, not running; "zos start ${spec.name}" starts it`,
      { code: 'not-running' },
    )
  }
  return agent
}

/** Until a status the disk had no room for is written again. Milliseconds. */
const SAVE_AGAIN = 1000

/** How long a call waits for a machine that an earlier daemon left. Milliseconds. */
const TAKING_UP = 15_000

/** Younger than this nobody need be told of it. Milliseconds. */
const SOON = 3000

const hangsAt = ({ step, since }: Adopting): string =>
  `not taken up for ${Math.round((performance.now() - since) / 1000)} s since the daemon came up: ${step} does not answer`

/** Waits for the machine of an earlier daemon; throws `not-taken-up`, naming what does not answer, after PATIENCE. */
export async function takenUp({ adopting, spec }: Workload, patience = TAKING_UP): Promise<void> {
  if (!adopting || (await within(patience, adopting.over))) return
  throw new ZosError(
    `Reach workload "${spec.name}": ${hangsAt(adopting)}; try again, or end it with "zos kill ${spec.name}"`,
    { code: 'not-taken-up', kind: 'node' },
  )
}

/** As agentOf, of one that an earlier daemon left when its machine was taken up; throws `not-taken-up` too. */
export async function reach(workload: Workload): Promise<Agent> {
  await takenUp(workload)
  return agentOf(workload)
}

/** To a TCP port of its own loopback. */
export const dial = async (workload: Workload, port: number): Promise<Duplex> => (await reach(workload)).dial(port)

/**
 * Changes the status here and on disk; for one that is being removed only here. While the disk is full it is so here, and
 * on disk as soon as there is room.
 */
export async function save(workload: Workload, change: Partial<WorkloadStatus>): Promise<void> {
  try {
    await keep(workload, change)
    workload.unsaved = false
  } catch (error) {
    if (codeOf(error) !== 'disk-full') throw error
    if (workload.unsaved) return
    workload.unsaved = true
    workload.at.log(reasonOf(error))
    void saveLater(workload)
  }
}

async function saveLater(workload: Workload): Promise<void> {
  while (workload.unsaved) {
    await sleep(SAVE_AGAIN)
    await save(workload, {}).catch((error: unknown) => workload.at.log(reasonOf(error)))
  }
}

/** As save, but throws `disk-full` where it could not be kept. */
export function keep(workload: Workload, change: Partial<WorkloadStatus>): Promise<void> {
  workload.status = { ...workload.status, ...change }
  return workload.removed ? Promise.resolve() : saveStatus(workload.at.home, workload.spec, workload.status)
}

/** Calls SINK with output from now on; returns how to stop. */
export function attach({ sinks }: Workload, sink: Sink): () => void {
  sinks.add(sink)
  return () => sinks.delete(sink)
}

/** Resolves when it is not running (any more). */
export function waitExit({ status, waiters }: Workload): Promise<WorkloadStatus> {
  if (status.state === 'exited') return Promise.resolve(status)
  return new Promise((resolve) => waiters.add(resolve))
}

/** Why one ended that did nothing to end. */
export const NODE_DOWN = 'the node went down'

/** Tells all who wait for the end. */
export function announce({ status, waiters }: Workload): void {
  for (const waiter of waiters) waiter(status)
  waiters.clear()
}

/** It does not start again by its policy. */
export function dropRestart(workload: Workload): void {
  clearTimeout(workload.restartTimer)
  workload.restartTimer = undefined
}

/** Its published ports as they are on this host; 0: one is chosen at the start. */
export const boundPorts = ({ spec, status }: Pick<Workload, 'spec' | 'status'>): WorkloadSpec['ports'] =>
  spec.ports.map((p, n) => ({ ...p, host: p.host || (status.hostPorts[n] ?? 0) }))

export function view({ at, spec, status, machine, adopting, health, heldUp, restartTimer }: Workload): WorkloadView {
  const reason = restartTimer ? `${status.reason}; starts again by its policy` : status.reason
  return {
    id: spec.id,
    name: spec.name,
    image: spec.image,
    state: status.state,
    exitCode: status.state === 'exited' ? status.exitCode : null,
    reason: reason || heldUp || (adopting && performance.now() - adopting.since > SOON ? hangsAt(adopting) : ''),
    pid: machine?.pid ?? at.machines.pidOf(status.machine),
    createdAt: spec.createdAt,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    restarts: status.restarts,
    ports: boundPorts({ spec, status }).map((p) => `${p.address}:${p.host}->${p.guest}`),
    command: spec.argv.join(' '),
    labels: spec.labels ?? {},
    memory: spec.memory,
    health: spec.health && status.state !== 'exited' && status.state !== 'created' ? health.status : null,
  }
}
