import { ZosError } from '#codec'
import type { Node } from '../actions/nodes.ts'
import { countryOf } from '../typed/digest.ts'
import { MODE, type Resources, type Rules, type Slot } from '../typed/schema.ts'
import type { WantedSlot } from './slots.ts'

export type Placed = { slot: WantedSlot; node: Node }

export type PlaceOptions = {
  /** Where the slots are now, by key (index, plus 128 for a standby): they stay where they can. */
  current?: Map<number, Pick<Slot, 'node' | 'resources'>>
  /** Farms to spread over at least. */
  rules?: Rules
}

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const

export const keyOfSlot = (s: { index: number; mode: number }): number => s.index + (s.mode === MODE.standby ? 128 : 0)

/**
 * Proposes a node for each slot: where it is pinned, else where it is, else the farm and then the node with the fewest
 * slots of this deployment, the cheaper, the emptier. Pure; the contract has the last word. Refuses naming the slot and
 * what is short.
 */
export function placeSlots(wanted: WantedSlot[], nodes: Node[], options: PlaceOptions = {}): Placed[] {
  const free = new Map(nodes.map((n) => [n.id, minus(n.capacity, n.used)]))
  // what the version before holds is released in the same transaction
  for (const s of options.current?.values() ?? []) add(free.get(s.node), s.resources)
  const onFarm = new Map<number, number>()
  const onNode = new Map<number, number>()
  const placed: Placed[] = []
  for (const slot of wanted) {
    const primary = slot.mode === MODE.standby ? placed.find((p) => p.slot.index === slot.index) : undefined
    const now = options.current?.get(keyOfSlot(slot))?.node
    let best: Node | undefined
    let bestScore: number[] = []
    for (const n of nodes) {
      if (!suits(slot, n, now) || n === primary?.node || !holds(free.get(n.id)!, slot.resources)) continue
      const f = free.get(n.id)!
      const score = [
        now === n.id ? 0 : 1,
        onFarm.get(n.farm) ?? 0,
        onNode.get(n.id) ?? 0,
        typeof n.attributes.price === 'number' ? n.attributes.price : 0,
        -f.ram / Math.max(1, n.capacity.ram),
      ]
      if (!best || before(score, bestScore)) [best, bestScore] = [n, score]
    }
    if (!best) throw short(slot, nodes, free, now)
    free.set(best.id, minus(free.get(best.id)!, slot.resources))
    onFarm.set(best.farm, (onFarm.get(best.farm) ?? 0) + 1)
    onNode.set(best.id, (onNode.get(best.id) ?? 0) + 1)
    placed.push({ slot, node: best })
  }
  const farms = new Set(placed.filter((p) => p.slot.mode !== MODE.standby).map((p) => p.node.farm)).size
  const least = options.rules?.farms ?? 0
  if (farms < least) {
    throw new ZosError(`Place the deployment: it is to be on ${least} farms, but only ${farms} can be had`, {
      code: 'no-room',
    })
  }
  return placed
}

function suits(slot: WantedSlot, n: Node, now: number | undefined): boolean {
  if (n.state !== 'up' && n.id !== now) return false
  if (slot.node !== undefined && slot.node !== String(n.id) && slot.node !== n.attributes.name) return false
  if (slot.countries.length > 0 && !slot.countries.includes(n.country)) return false
  if (slot.notCountries.includes(n.country)) return false
  return slot.regions.length === 0 || slot.regions.includes(n.region)
}

/** Why no node does: the rule or the resource that excludes them, with the most there is of it. */
function short(slot: WantedSlot, nodes: Node[], free: Map<number, Resources>, now: number | undefined): ZosError {
  const what = `Place slot ${slot.index} of "${slot.spec.deployment}"`
  const fail = (reason: string) =>
    new ZosError(`${what}: ${reason}`, { code: 'no-room', details: { slot: slot.index } })
  if (slot.node !== undefined && !nodes.some((n) => slot.node === String(n.id) || slot.node === n.attributes.name))
    return fail(`there is no node "${slot.node}"`)
  const there = nodes.filter((n) => suits(slot, n, now))
  if (there.length === 0) return fail(`none of ${nodes.length} nodes is up and where the spec allows it`)
  for (const lane of LANES) {
    const most = Math.max(...there.map((n) => free.get(n.id)![lane]))
    if (most < slot.resources[lane])
      return fail(`it needs ${say(lane, slot.resources[lane])}, the most free on a node is ${say(lane, most)}`)
  }
  return fail('no node has enough of everything free at once')
}

const units: Record<(typeof LANES)[number], string> = {
  cpu: 'CPU',
  ram: 'MiB memory',
  ssd: 'MiB disk',
  hdd: 'GiB hard disk',
  uplink: 'kbit/s',
  gpu: 'GPU',
  ipv4: 'IPv4',
}
const say = (lane: (typeof LANES)[number], n: number) => `${lane === 'cpu' ? n / 1000 : n} ${units[lane]}`

function before(a: number[], b: number[]): boolean {
  for (const [n, x] of a.entries()) if (x !== b[n]!) return x < b[n]!
  return false
}

const minus = (a: Resources, b: Resources): Resources => {
  const c = { ...a }
  for (const l of LANES) c[l] -= b[l]
  return c
}
const holds = (a: Resources, b: Resources) => LANES.every((l) => a[l] >= b[l])
function add(a: Resources | undefined, b: Resources): void {
  if (a) for (const l of LANES) a[l] += b[l]
}

/** "1 CPU, 128 MiB memory, 1024 MiB disk", zeros left out. */
export function sayResources(r: Resources): string {
  return LANES.filter((l) => r[l] > 0)
    .map((l) => say(l, r[l]))
    .join(', ')
}

export const sayRules = (r: Rules): string[] => [
  ...(r.allow.length ? [`only in ${r.allow.map(countryOf).join(', ')}`] : []),
  ...(r.deny.length ? [`not in ${r.deny.map(countryOf).join(', ')}`] : []),
  ...(r.farms > 1 ? [`on at least ${r.farms} farms`] : []),
]
