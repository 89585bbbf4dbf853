import type { Grid } from '../actions/grid.ts'
import { listNodes } from '../actions/nodes.ts'

type Hex = `0x${string}`

/** Milliseconds between two looks at the nodes' records: whoever comes anew cannot make us ask more often. */
const SOONEST = 2_000

export type Signer = { id: number; key: Hex }

/** The grid's nodes by the overlay key (hex) in their records, looked up when one is not known, or is AGAIN in doubt. */
export function openRoster(grid: Grid) {
  let nodes = new Map<string, Signer>()
  let looked = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | undefined

  async function look(): Promise<void> {
    const all = await listNodes(grid)
    nodes = new Map(
      all.flatMap(({ id, key, attributes: { overlay } }) =>
        typeof overlay === 'string' ? [[overlay, { id, key }]] : [],
      ),
    )
  }

  return async (overlayKey: string, again = false): Promise<Signer | undefined> => {
    const known = nodes.get(overlayKey)
    if (known && !again) return known
    if (!looking && performance.now() - looked > SOONEST) {
      looked = performance.now()
      looking = look().finally(() => {
        looking = undefined
      })
    }
    await looking
    return nodes.get(overlayKey)
  }
}
