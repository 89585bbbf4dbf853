import { ZosError } from '#codec'
import { reach, type Workload } from './workload.ts'

/** Grows the volume NAME, whose host file is PATH, to SIZE bytes while WORKLOAD uses it. */
export async function growInUse(workload: Workload, name: string, path: string, size: number): Promise<void> {
  const agent = await reach(workload)
  const { machine, spec } = workload
  const serial = machine?.volumeSerials[spec.volumes.findIndex((v) => v.source === name)]
  if (!machine || serial === undefined) {
    throw new ZosError(`Grow volume "${name}": workload "${spec.name}" is ending; try again`, { code: 'volume-in-use' })
  }
  await machine.growDisk(serial, path, size)
  await agent.grow(serial, size)
}
