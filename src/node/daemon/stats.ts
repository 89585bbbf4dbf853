import { readFileSync } from 'node:fs'
import type { WorkloadView } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { agentOf, reach, type Workload } from '../compute/workload.ts'
import type { StoragePlane } from './storage-client.ts'

/** Bytes of this machine's memory that process PID costs, shared pages counted in part (Pss). */
function hostMemory(pid: number | undefined): number {
  if (pid === undefined) return 0
  try {
    const kib = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
    return Number(kib ?? 0) * 1024
  } catch {
    return 0
  }
}

async function statOf(workload: Workload) {
  const begun = performance.now()
  const first = await (await reach(workload)).stats()
  await new Promise((r) => setTimeout(r, 250))
  const now = await agentOf(workload).stats()
  const elapsed = (performance.now() - begun) * 1000
  return {
    id: workload.spec.id,
    name: workload.spec.name,
    memory: { current: now.memory - now.inactiveFile, peak: now.memoryPeak, limit: workload.spec.memory },
    cpu: { seconds: now.cpuUsec / 1e6, percent: (100 * (now.cpuUsec - first.cpuUsec)) / elapsed },
    processes: now.pids,
    disk: { used: now.upperUsed, read: now.ioReadBytes, written: now.ioWriteBytes },
    host: { memory: hostMemory(workload.machine?.pid) },
  }
}

/** Figures of the named workloads, or of all that run: one that ends meanwhile is left out. */
export async function statsOf(engine: Engine, names: string[]) {
  if (names.length > 0) return Promise.all(names.map((n) => statOf(engine.find(n))))
  const running = engine.list().filter((w) => w.status.state === 'running' && !w.adopting)
  const found = await Promise.allSettled(running.map(statOf))
  return found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
}

/** A storage plane that is starting anew must not hold up `zos ps`. Milliseconds. */
const ASK_MS = 2000

/** All workloads, and of those that have a disk whether all of it is here. */
export async function viewsOf(engine: Engine, storage: StoragePlane): Promise<WorkloadView[]> {
  const views = engine.views()
  if (!views.some(({ pid }) => pid !== null)) return views
  type Exports = Record<string, { selfContained: boolean }>
  const exports = await storage.call<Exports>('GET', '/exports', undefined, ASK_MS).catch((): Exports => ({}))
  return views.map((v) => {
    const { machine } = engine.find(v.id)
    return machine ? { ...v, selfContained: exports[machine.exportId]?.selfContained ?? null } : v
  })
}

/** What the start of a workload cost: for the main job's summary. */
export async function reportOf(workload: Workload, storage: StoragePlane) {
  return {
    export: await storage.call<Record<string, number>>('GET', `/exports/${workload.machine?.exportId}`),
    host: { memory: hostMemory(workload.machine?.pid) },
  }
}
