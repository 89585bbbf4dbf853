import { reasonOf, ZosError } from '#codec'
import type { Machine } from './parts.ts'
import { save, type Workload } from './workload.ts'

/**
 * When a file of the workload's disks takes no more, QEMU stops the machine before the write that failed: nothing is lost,
 * it goes on with `unpause` when there is room. STARTING gets the reason too.
 */
export function watchStall(workload: Workload, machine: Machine, starting: (error: Error) => void = () => {}): void {
  const { at, spec } = workload
  machine.onStall(({ disk, full }) => {
    if (workload.machine !== machine || workload.removed) return
    const volume = spec.volumes[Number(/^vol(\d)$/.exec(disk)?.[1] ?? Number.NaN)]?.source
    const what = volume ? `volume "${volume}"` : disk === 'upper' ? 'its writable layer' : 'one of its disks'
    const reason = `${what} cannot be written: ${full ? "this machine's disk is full; free space" : 'an I/O error; mend that'}, then "zos unpause ${spec.name}"`
    at.log(`${spec.name}: ${reason}`)
    starting(new ZosError(`Start workload "${spec.name}": ${reason}`, { code: 'disk-full', kind: 'node' }))
    if (workload.status.state !== 'running' && workload.status.state !== 'paused') return
    save(workload, { state: 'paused', reason }).catch((error: unknown) => at.log(`${spec.name}: ${reasonOf(error)}`))
  })
}
