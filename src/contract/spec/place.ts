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
  /** Unix seconds, by which nodes count as silent. */
  now?: number
}

/** Seconds without a sign of life after which a node is silent: it gives one every five minutes. */
const SILENT = 1200

/** Whether N gave signs of life and gives none any more; one that is new has given none yet. */
export const isSilent = ({ seen }: Pick<Node, 'seen'>, now: number): boolean => seen > 0 && now - seen > SILENT

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const

export const keyOfSlot = (s: { index: number; mode: number }): number => s.index + (s.mode === MODE.standby ? 128 : 0)

/**
 * Proposes a node for each slot: the one it is pinned to, else the one it is on, else the best of the rest. Better is a node that
 * gives signs of life, then a farm and a node with fewer slots of this deployment, then the cheaper, then the emptier one.
 *
 * Slots with less choice are placed first. If slots would stay on too few farms, those that share a farm leave it. If not all of
 * them fit in this way, the large ones are placed first; if they still do not, each goes where the least is left.
 * Pure; the contract has the last word. Refuses naming the slot and what is short.
 */
export function placeSlots(wanted: WantedSlot[], nodes: Node[], options: PlaceOptions = {}): Placed[] {
  let why: unknown
  for (const way of ['spread', 'large', 'tight'] as const)
    try {
      return placeBy(way, wanted, nodes, options)
    } catch (error) {
      why ??= error
    }
  throw why
}

/** large: slots of much before those of little; tight: and each on the node that it leaves the least of. */
type Way = 'spread' | 'large' | 'tight'

function placeBy(way: Way, wanted: WantedSlot[], nodes: Node[], options: PlaceOptions): Placed[] {
  const least = options.rules?.farms ?? 0
  const stay = placeAll(way, wanted, nodes, options, 0)
  if (farmsOf(stay) >= least) return stay
  const spread = placeAll(way, wanted, nodes, options, least)
  const farms = farmsOf(spread)
  if (farms >= least) return spread
  throw new ZosError(`Place the deployment: it is to be on ${least} farms, but only ${farms} can be had`, {
    code: 'no-room',
  })
}

const farmsOf = (placed: Placed[]): number =>
  new Set(placed.filter((p) => p.slot.mode !== MODE.standby).map((p) => p.node.farm)).size

/** Pinned slots first, then those that have a place, then those that geo rules bind; standbys go by their primaries' places. */
function rankOf(s: WantedSlot, isPlaced: boolean): number {
  if (s.mode === MODE.standby) return 4
  if (s.node !== undefined) return 0
  if (isPlaced) return 1
  return s.countries.length + s.notCountries.length + s.regions.length > 0 ? 2 : 3
}

/** Until slots are on LEAST farms none stays where another one is. */
function placeAll(way: Way, wanted: WantedSlot[], nodes: Node[], options: PlaceOptions, least: number): Placed[] {
  const size = way === 'spread' ? () => 0 : sizeBeside(nodes)
  const rows = rowsOf(nodes, options)
  const placed = new Map<WantedSlot, Placed>()
  const placeOf = (s: WantedSlot) => options.current?.get(keyOfSlot(s))
  const rank = (s: WantedSlot) => rankOf(s, placeOf(s) !== undefined)
  for (const slot of wanted.toSorted((a, b) => rank(a) - rank(b) || size(b) - size(a))) {
    const all = [...placed.values()]
    const primary = slot.mode === MODE.standby ? all.find((p) => p.slot.index === slot.index) : undefined
    const had = placeOf(slot)
    const now = had?.node
    const here = had && rows.find((r) => r.node.id === now)
    const leaves = here && here.farm.slots > 0 && slot.mode !== MODE.standby && farmsOf(all) < least
    const on = (now?: number) => bestOf(way, rows, slot, primary, now)
    const best = (leaves && on()) || on(now)
    if (!best) throw short(slot, nodes, rows, now)
    // what it leaves stays booked while it drains
    if (here && here !== best) here.free = minus(here.free, had.resources)
    best.free = minus(best.free, slot.resources)
    best.farm.slots++
    best.slots++
    placed.set(slot, { slot, node: best.node })
  }
  return wanted.map((slot) => placed.get(slot)!)
}

/** The largest share that a slot would have of the most that a node has of something. */
function sizeBeside(nodes: Node[]): (s: WantedSlot) => number {
  const most = LANES.map((l) => nodes.reduce((n, { capacity }) => Math.max(n, capacity[l]), 1))
  return ({ resources }) => Math.max(...LANES.map((l, n) => resources[l] / most[n]!))
}

/** The row that SLOT would be best on; NOW: the node that it stays on where it can. */
function bestOf(
  way: Way,
  rows: Row[],
  slot: WantedSlot,
  primary: Placed | undefined,
  now: number | undefined,
): Row | undefined {
  let best: Row | undefined
  for (const row of rows) {
    // of ten thousand nodes most are out by this alone
    if (way !== 'tight' && best && row.node.id !== now && (best.node.id === now || isWorse(row, best))) continue
    const { node } = row
    if (node === primary?.node || !holds(row.free, slot.resources) || !suits(slot, node, now)) continue
    if (!best || before(row, best, now, way)) best = row
  }
  return best
}

const isWorse = (a: Row, b: Row) => (a.silent === b.silent ? a.farm.slots > b.farm.slots : a.silent)

/** A node while slots are being placed: what is left of it, and how many slots it and its farm have got. */
type Row = { node: Node; silent: boolean; free: Resources; slots: number; farm: { slots: number } }

function rowsOf(nodes: Node[], options: PlaceOptions): Row[] {
  const farms = new Map<number, { slots: number }>()
  const rows = nodes.map((node) => {
    const farm = farms.get(node.farm) ?? { slots: 0 }
    farms.set(node.farm, farm)
    const silent = options.now !== undefined && isSilent(node, options.now)
    return { node, silent, free: minus(node.capacity, node.used), slots: 0, farm }
  })
  // what the version before holds is released in the same transaction
  for (const s of options.current?.values() ?? []) {
    const row = rows.find((r) => r.node.id === s.node)
    if (row) for (const l of LANES) row.free[l] += s.resources[l]
  }
  return rows
}

const priceOf = ({ attributes: { price } }: Node) => (typeof price === 'number' ? price : 0)

/** Whether A is better than B: where it is, alive, fewer slots on the farm, on the node, cheaper, emptier. */
function before(a: Row, b: Row, now: number | undefined, way: Way): boolean {
  if ((a.node.id === now) !== (b.node.id === now)) return a.node.id === now
  if (a.silent !== b.silent) return b.silent
  if (way === 'tight' && a.free.ram !== b.free.ram) return a.free.ram < b.free.ram
  if (a.farm.slots !== b.farm.slots) return a.farm.slots < b.farm.slots
  if (a.slots !== b.slots) return a.slots < b.slots
  if (priceOf(a.node) !== priceOf(b.node)) return priceOf(a.node) < priceOf(b.node)
  return a.free.ram / Math.max(1, a.node.capacity.ram) > b.free.ram / Math.max(1, b.node.capacity.ram)
}

function suits(slot: WantedSlot, n: Node, now: number | undefined): boolean {
  if (n.state !== 'up' && n.id !== now) return false
  if (slot.node !== undefined && slot.node !== String(n.id) && slot.node !== n.attributes.name) return false
  if (slot.countries.length > 0 && !slot.countries.includes(n.country)) return false
  if (slot.notCountries.includes(n.country)) return false
  return slot.regions.length === 0 || slot.regions.includes(n.region)
}

/** Why no node does: the rule or the resource that excludes them, with the most there is of it. */
function short(slot: WantedSlot, nodes: Node[], rows: Row[], now: number | undefined): ZosError {
  const what = `Place slot ${slot.index} of "${slot.spec.deployment}"`
  const fail = (reason: string) =>
    new ZosError(`${what}: ${reason}`, { code: 'no-room', details: { slot: slot.index } })
  if (slot.node !== undefined && !nodes.some((n) => slot.node === String(n.id) || slot.node === n.attributes.name))
    return fail(`there is no node "${slot.node}"`)
  const there = rows.filter((r) => suits(slot, r.node, now))
  if (there.length === 0) return fail(`none of ${nodes.length} nodes is up and where the spec allows it`)
  for (const lane of LANES) {
    const most = Math.max(...there.map((r) => r.free[lane]))
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

/** Which of the resources WANTED is not FREE on a node, in words; undefined when all fits. */
export function lackOf(free: Resources, wanted: Resources): string | undefined {
  const lane = LANES.find((l) => free[l] < wanted[l])
  return lane && `it needs ${say(lane, wanted[lane])}, free is ${say(lane, Math.max(0, free[lane]))}`
}

const minus = (a: Resources, b: Resources): Resources => {
  const { cpu, ram, ssd, hdd, uplink, gpu, ipv4 } = b
  return {
    cpu: a.cpu - cpu,
    ram: a.ram - ram,
    ssd: a.ssd - ssd,
    hdd: a.hdd - hdd,
    uplink: a.uplink - uplink,
    gpu: a.gpu - gpu,
    ipv4: a.ipv4 - ipv4,
  }
}
const holds = (a: Resources, b: Resources): boolean =>
  a.cpu >= b.cpu &&
  a.ram >= b.ram &&
  a.ssd >= b.ssd &&
  a.hdd >= b.hdd &&
  a.uplink >= b.uplink &&
  a.gpu >= b.gpu &&
  a.ipv4 >= b.ipv4
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

/** What a sealed spec may say of where it may be, of its deployment and its workload together; by a client of any version. */
export type Geo = { countries?: unknown; notCountries?: unknown; regions?: unknown }

const list = (said: unknown): unknown[] => (Array.isArray(said) ? said : [])

/** Whether the signed RULES or the sealed spec's GEO keep a slot from a node that stands there. */
export function isForbidden(at: Pick<Node, 'country' | 'region'>, rules: Rules, geo: Geo | undefined): boolean {
  const only = [rules.allow.map(countryOf), list(geo?.countries)]
  const never = [...rules.deny.map(countryOf), ...list(geo?.notCountries)]
  const regions = list(geo?.regions)
  if (only.some((all) => all.length > 0 && !all.includes(at.country)) || never.includes(at.country)) return true
  return regions.length > 0 && !regions.includes(at.region)
}
