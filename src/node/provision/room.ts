import { ZosError } from '#codec'
import { type Geo, isForbidden, lackOf, type Resources, type Rules } from '#contract'

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const satisfies (keyof Resources)[]

/**
 * What this node has given to slots, by their names, of its CAPACITY. The chain books the same; but a chain that lies, or a slot
 * that was taken back and is still ending, must not make it promise more than it has.
 */
export function roomOf(capacity: Resources) {
  const given = new Map<string, Resources>()
  return {
    /** What runs here already has its room, whatever is left. */
    keep(slot: string, r: Resources): void {
      if (!given.has(slot)) given.set(slot, r)
    },
    free: (slot: string): void => void given.delete(slot),
    /** Gives the slot R instead of what it has; throws `no-room` naming what is short. */
    take(slot: string, r: Resources): void {
      const left = { ...capacity }
      for (const [name, had] of given) if (name !== slot) for (const lane of LANES) left[lane] -= had[lane]
      const lack = lackOf(left, r)
      if (lack) throw new ZosError(`Make room: ${lack} on this node`, { code: 'no-room', kind: 'node' })
      given.set(slot, r)
    },
  }
}

export type Room = ReturnType<typeof roomOf>

/** Where a node stands. */
export type Place = { country: string; region: string }

/** Throws where the signed RULES or the sealed spec's GEO keep a slot from PLACE. */
export function checkPlace(place: Place, rules: Rules, geo: Geo | undefined): void {
  if (isForbidden(place, rules, geo))
    throw new ZosError(`Start here: the geo rules forbid it in ${place.region || place.country}`, {
      code: 'forbidden-here',
      kind: 'node',
    })
}
