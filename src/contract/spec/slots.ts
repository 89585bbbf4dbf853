import { ZosError } from '#codec'
import { countryHex } from '../typed/digest.ts'
import { MODE, type Resources, type Rules } from '../typed/schema.ts'
import type { SlotSpec } from './leaf.ts'
import type { Spec, Workload } from './schema.ts'

/** Disk a workload gets when it says nothing: 1 GiB for what it writes. */
export const DISK_MIB = 1024

/** One slot to be placed: what it needs, and what its node is told. */
export type WantedSlot = {
  index: number
  mode: number
  resources: Resources
  spec: SlotSpec
  /** Which node the author pinned it to, by name or number. */
  node: string | undefined
  countries: string[]
  notCountries: string[]
  regions: string[]
}

/**
 * The slots of a spec: numbered from 0 over all workloads and replicas in the spec's order, standbys behind them under
 * the same numbers. Images must be pinned to their flist by now.
 */
export function slotsOf(spec: Spec): WantedSlot[] {
  const primaries: WantedSlot[] = []
  for (const workload of spec.workloads) {
    if (!workload.flist) {
      throw new ZosError(`Place workload "${workload.name}": its image "${workload.image}" is not pinned to a flist`, {
        code: 'not-pinned',
        kind: 'bug',
      })
    }
    // what decides the placement is no secret of the slot's, and would change its leaf for nothing
    const { replicas, nodes, geo: own, ...rest } = workload
    const geo = {
      countries: merged(workload.name, spec.geo?.countries, own?.countries),
      notCountries: [...(spec.geo?.notCountries ?? []), ...(own?.notCountries ?? [])],
      regions: merged(workload.name, spec.geo?.regions, own?.regions),
    }
    // its node holds it against where it stands
    const told = spec.geo || own ? { ...rest, geo } : rest
    for (let replica = 0; replica < replicas; replica++) {
      const index = primaries.length
      primaries.push({
        index,
        mode: MODE[workload.mode],
        resources: resourcesOf(workload),
        spec: { deployment: spec.name, slot: index, replica, workload: told },
        node: nodes[replica],
        ...geo,
      })
    }
  }
  const standbys = primaries
    .filter((s) => s.spec.workload.standby === true)
    .map((s) => ({ ...s, mode: MODE.standby, node: undefined }))
  return [...primaries, ...standbys]
}

/** Both lists must hold where both are given. */
function merged(name: string, outer: string[] = [], inner: string[] = []): string[] {
  if (outer.length === 0 || inner.length === 0) return [...outer, ...inner]
  const both = inner.filter((c) => outer.includes(c))
  if (both.length > 0) return both
  throw new ZosError(
    `Place workload "${name}": no place is in both "${outer.join(', ')}" and "${inner.join(', ')}"; change one of the geo rules`,
    { code: 'impossible-geo' },
  )
}

export function resourcesOf(w: Workload): Resources {
  const ssd = (w.disk ?? DISK_MIB) + w.volumes.reduce((n, v) => n + v.size, 0)
  return { cpu: w.cpus, ram: w.memory, ssd, hdd: 0, uplink: w.uplink ?? 0, gpu: 0, ipv4: 0 }
}

/** The part of the geo rules the contract itself enforces: countries over the whole deployment, and farms. */
export function rulesOf(spec: Spec): Rules {
  return {
    allow: (spec.geo?.countries ?? []).map(countryHex),
    deny: (spec.geo?.notCountries ?? []).map(countryHex),
    farms: spec.farms,
  }
}
