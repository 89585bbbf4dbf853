import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomic } from '#sys'
import type { HealthStatus, WorkloadState } from '#wire'
import { diskFull, isFull } from './full.ts'
import type { WorkloadSpec } from './spec.ts'

/** What is so: rewritten whole at each change. */
export type WorkloadStatus = {
  state: WorkloadState
  exitCode: number | null
  reason: string
  startedAt: string | null
  finishedAt: string | null
  restarts: number
  /** The last run ended by using more memory than it may. */
  oom: boolean
  /** What its published ports are on this host, in the spec's order: some are chosen at the start. */
  hostPorts: number[]
  /** Stopped, killed or paused by a person: restart policies leave it. */
  byHand: boolean
  /** The machine it runs in, for a later daemon to find again. */
  machine: unknown
  /** What its checks make of it, of one that is checked. */
  health: HealthStatus
  /** Bytes of output before this machine's first: each guest counts its own from 0. */
  outputBase: number
}

export const FRESH: WorkloadStatus = {
  state: 'created',
  exitCode: null,
  reason: 'not started yet',
  startedAt: null,
  finishedAt: null,
  restarts: 0,
  oom: false,
  hostPorts: [],
  byHand: false,
  machine: null,
  health: 'starting',
  outputBase: 0,
}

/** The folder of a workload: spec.json, status.json, output.log, and what its machine writes. */
export const folderOf = (home: string, id: string): string => join(home, 'workloads', id)

/** Throws `disk-full`, as saveStatus does. */
export async function saveSpec(home: string, spec: WorkloadSpec): Promise<void> {
  await write(home, spec, 'spec.json', spec)
}

export async function saveStatus(home: string, spec: WorkloadSpec, status: WorkloadStatus): Promise<void> {
  await write(home, spec, 'status.json', status)
}

async function write(home: string, spec: WorkloadSpec, name: string, value: unknown): Promise<void> {
  const folder = folderOf(home, spec.id)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    // a workload that goes with its command need not survive a power cut; kill -9 of the daemon it does survive
    await writeAtomic(join(folder, name), JSON.stringify(value), { mode: 0o600, sync: !spec.remove })
  } catch (error) {
    throw isFull(error) ? diskFull(`Keep "${spec.name}" in "${folder}"`, error) : error
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch {
    return undefined
  }
}

/** All workloads on disk; a folder without a whole spec is an aborted creation and is removed. */
export function loadWorkloads(home: string): { spec: WorkloadSpec; status: WorkloadStatus }[] {
  const base = join(home, 'workloads')
  mkdirSync(base, { recursive: true, mode: 0o700 })
  return readdirSync(base).flatMap((id) => {
    const spec = readJson<WorkloadSpec>(join(base, id, 'spec.json'))
    if (!spec) {
      rmSync(join(base, id), { recursive: true, force: true })
      return []
    }
    return [{ spec, status: { ...FRESH, ...readJson<WorkloadStatus>(join(base, id, 'status.json')) } }]
  })
}
