import { ZosError } from '#codec'
import type { Resources, WantedSlot } from '#contract'
import type { PlacedNode } from './context.ts'

const LANES = ['cpu', 'ram', 'ssd', 'hdd', 'uplink', 'gpu', 'ipv4'] as const
const WORDS = {
  cpu: '1/1000 CPU',
  ram: 'MiB memory',
  ssd: 'MiB disk',
  hdd: 'GiB disk',
  uplink: 'kbit/s',
  gpu: 'GPUs',
  ipv4: 'addresses',
}

export type Booked = { key: number; node: number; resources: Resources }

const keyOf = (slot: { index: number; mode: number }): number => slot.index + (slot.mode === 2 ? 128 : 0)

/**
 * Proposes a node for each slot: where it is already, else on the farm with the fewest of this deployment, cheapest,
 * emptiest. HELD is what the deployment books now and gives back in the same step. One pass over the nodes per slot.
 */
export function place(wanted: WantedSlot[], nodes: PlacedNode[], held: Booked[], farms: number): PlacedNode[] {
  const free = new Map(nodes.map((n) => [n.id, minus(n.capacity, n.used)]))
  for (const b of held) if (free.has(b.node)) free.set(b.node, plus(free.get(b.node)!, b.resources))
  const onFarm = new Map<number, number>()
  const chosen: PlacedNode[] = []
  for (const slot of wanted) {
    const here = held.find((b) => b.key === keyOf(slot))?.node
    const twin =
      slot.mode === 2 ? chosen[wanted.findIndex((w) => w.index === slot.index && w.mode !== 2)]?.id : undefined
    let best: { node: PlacedNode; rank: number[] } | undefined
    for (const node of nodes) {
      if (node.state !== 'up' || node.id === twin || !allowed(slot, node) || !fits(free.get(node.id)!, slot.resources))
        continue
      const price = typeof node.attributes.price === 'number' ? node.attributes.price : 0
      const rank = [node.id === here ? 0 : 1, onFarm.get(node.farm) ?? 0, price, -free.get(node.id)!.ram]
      if (!best || less(rank, best.rank)) best = { node, rank }
    }
    if (!best) throw new ZosError(`Place slot ${slot.index}: ${why(slot, nodes, free)}`, { code: 'no-place' })
    chosen.push(best.node)
    onFarm.set(best.node.farm, (onFarm.get(best.node.farm) ?? 0) + 1)
    free.set(best.node.id, minus(free.get(best.node.id)!, slot.resources))
  }
  const spread = new Set(chosen.map((n) => n.farm)).size
  if (spread < farms)
    throw new ZosError(`Place the deployment: it wants ${farms} farms, its slots fit on ${spread}`, {
      code: 'no-place',
    })
  return chosen
}

function allowed(slot: WantedSlot, node: PlacedNode): boolean {
  if (slot.node !== undefined && slot.node !== node.name && slot.node !== String(node.id)) return false
  if (slot.countries.length > 0 && !slot.countries.includes(node.country)) return false
  if (slot.notCountries.includes(node.country)) return false
  return slot.regions.length === 0 || slot.regions.includes(node.region)
}

function why(slot: WantedSlot, nodes: PlacedNode[], free: Map<number, Resources>): string {
  if (slot.node !== undefined && !nodes.some((n) => n.name === slot.node || String(n.id) === slot.node))
    return `there is no node "${slot.node}"; "zos node ls" lists them`
  const fit = nodes.filter((n) => n.state === 'up' && allowed(slot, n))
  if (fit.length === 0) return 'no node is where its geo rules want it'
  const lane = LANES.find((l) => fit.every((n) => free.get(n.id)![l] < slot.resources[l]))
  if (!lane) return 'no node has all it needs free at once'
  const most = Math.max(...fit.map((n) => free.get(n.id)![lane]))
  return `it needs ${slot.resources[lane]} ${WORDS[lane]}, the most a node has free is ${most}`
}

const each = (a: Resources, f: (lane: (typeof LANES)[number]) => number): Resources => ({
  ...a,
  ...Object.fromEntries(LANES.map((l) => [l, f(l)])),
})
const minus = (a: Resources, b: Resources) => each(a, (l) => a[l] - b[l])
const plus = (a: Resources, b: Resources) => each(a, (l) => a[l] + b[l])
const fits = (a: Resources, b: Resources) => LANES.every((l) => a[l] >= b[l])
const less = (a: number[], b: number[]): boolean => {
  const n = a.findIndex((x, i) => x !== b[i])
  return n >= 0 && a[n]! < b[n]!
}
