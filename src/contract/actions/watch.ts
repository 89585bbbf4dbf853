import { sleep } from '#sys'
import type { Grid } from './grid.ts'
import { events, type LedgerEvent } from './logs.ts'

/** The block up to which events were taken: to be persisted by whoever watches, with the block's hash. */
export type Cursor = { block: number; hash: string }

export type Batch = { events: LedgerEvent[]; cursor: Cursor }

const NAMES = [
  'Approved',
  'Placed',
  'Draining',
  'Released',
  'Frozen',
  'Ended',
  'Acked',
  'GroupSet',
  'NodeSet',
  'NodeState',
  'FarmSet',
  'Posted',
  'Named',
  'Noticed',
]

/** Thrown by watch when the chain no longer has the block of the cursor: hold, keep running, report. */
export class ChainWentBack extends Error {
  readonly cursor: Cursor
  constructor(cursor: Cursor) {
    super(`Watch the chain: block ${cursor.block} is not the one seen before`)
    this.cursor = cursor
  }
}

/** Events of final blocks behind CURSOR (from the start when undefined), at once; `events` may be empty. */
export async function poll(grid: Grid, cursor?: Cursor): Promise<Batch> {
  if (cursor) {
    const known = await grid.client.getBlock({ blockNumber: BigInt(cursor.block) }).catch(() => undefined)
    if (known?.hash !== cursor.hash) throw new ChainWentBack(cursor)
  }
  const head = await grid.engine.finalized()
  const from = cursor ? BigInt(cursor.block) + 1n : grid.since
  const found = BigInt(head.number) >= from ? await events(grid, NAMES, [], { from, to: BigInt(head.number) }) : []
  return { events: found, cursor: { block: head.number, hash: head.hash } }
}

/** Batches of events for ever, the first at once; empty ones are left out. Poll interval in milliseconds. */
export async function* watch(
  grid: Grid,
  options: { cursor?: Cursor; interval?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Batch> {
  let cursor = options.cursor
  for (;;) {
    const batch = await poll(grid, cursor)
    cursor = batch.cursor
    if (batch.events.length > 0) yield batch
    if (options.signal?.aborted) return
    await sleep(options.interval ?? 1000, options.signal).catch(() => {})
    if (options.signal?.aborted) return
  }
}
