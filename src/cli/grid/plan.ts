import type { WantedSlot } from '#contract'
import { table } from '../terminal.ts'
import type { PlacedNode } from './context.ts'

/** Says where each slot would be, and what it would cost there. */
export function showPlan(wanted: WantedSlot[], nodes: PlacedNode[], json: boolean): void {
  const rows = wanted.map((w, n) => {
    const { cpu, ram, ssd } = w.resources
    const node = nodes[n]!
    const price = typeof node.attributes.price === 'number' ? node.attributes.price : 0
    return {
      slot: w.index,
      standby: w.mode === 2,
      node: node.name,
      farm: node.farmName,
      country: node.country,
      cpu,
      ram,
      ssd,
      price,
    }
  })
  if (json) process.stdout.write(`${JSON.stringify(rows)}\n`)
  else
    process.stdout.write(
      table(
        ['SLOT', 'NODE', 'FARM', 'COUNTRY', 'CPUS', 'MEMORY', 'DISK', 'PRICE'],
        rows.map((r) => [
          `${r.slot}${r.standby ? ' (standby)' : ''}`,
          r.node,
          r.farm,
          r.country,
          String(r.cpu / 1000),
          `${r.ram} MiB`,
          `${r.ssd} MiB`,
          r.price === 0 ? 'free' : String(r.price),
        ]),
      ),
    )
}
