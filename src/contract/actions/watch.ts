import { ZosError } from '#codec'
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

const wentBack = (cursor: Cursor, found: string) =>
  new ZosError(`Watch the chain: block ${cursor.block} is not the one seen before; the node holds`, {
    code: 'chain-went-back',
    kind: 'node',
    details: { cursor, found },
  })

const isBehind = (cursor: Cursor, head: number) =>
  new ZosError(
    `Watch the chain: block ${cursor.block}, seen before, is not there yet; what is final is block ${head}`,
    {
      code: 'chain-behind',
      kind: 'node',
      details: { cursor, head },
    },
  )

/**
 * Events of final blocks behind CURSOR (from the start when undefined), at once; `events` may be empty. Throws a
 * ZosError `chain-went-back` when the chain has another block than the cursor's: it lies now, or did when it gave
 * that block. Hold, keep running, report, and poll from the start: a cursor that a lie has set must not last. Throws
 * `chain-behind` when it does not have that block: behind one address are often several nodes, not all equally far; one that stays
 * behind has gone back.
 */
export async function poll(grid: Grid, cursor?: Cursor): Promise<Batch> {
  // an RPC that does not answer throws here: silence is not a chain that went back
  const head = await grid.engine.finalized()
  // the look that nearly all are: nothing new, told by one answer
  if (cursor && head.number === cursor.block && head.hash === cursor.hash) return { events: [], cursor }
  if (cursor) {
    const at = `0x${cursor.block.toString(16)}`
    const params = [at, false]
    const known = (await grid.engine.request({ method: 'eth_getBlockByNumber', params })) as { hash: string } | null
    if (known && known.hash !== cursor.hash) throw wentBack(cursor, known.hash)
    if (!known || head.number < cursor.block) throw isBehind(cursor, head.number)
  }
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
