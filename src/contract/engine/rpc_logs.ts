import { ZosError } from '#codec'
import type { Filter, Tag } from './rpc_params.ts'
import { logView } from './rpc_views.ts'
import type { BlockRow, LogRow, Store } from './store.ts'
import type { Hex } from './types.ts'

/** Rows, and bytes of data, that one eth_getLogs may give; more is refused, and the caller narrows its range. */
const LOG_LIMIT = 10_000
/** More than one block's gas can pay for: 24 a byte, as calldata and in an event. */
const LOG_BYTES = 4 << 20

/** The logs of STORE that fit F; MUST gives the block that a tag names, or throws. */
export function logsOf(store: Store, must: (t: Tag) => BlockRow, f: Filter) {
  const one = f.blockHash ? must({ blockHash: f.blockHash }).number : undefined
  const head = store.meta('head')!
  // a range may reach past the head: what is not yet there has no logs
  const number = (t: Tag) => (typeof t === 'bigint' ? Number(t > BigInt(head) ? BigInt(head) + 1n : t) : must(t).number)
  const from = one ?? number(f.fromBlock ?? 'latest')
  const to = one ?? number(f.toBlock ?? 'latest')
  const where = ['l.block BETWEEN ? AND ?']
  const values: (number | Buffer)[] = [from, to]
  const among = (column: string, any: Hex[]) => {
    where.push(`${column} IN (${any.map(() => '?').join()})`)
    values.push(...any.map((h) => Buffer.from(h.slice(2), 'hex')))
  }
  if (f.address) among('l.address', [f.address].flat())
  for (const [n, t] of (f.topics ?? []).entries()) if (t !== null && t.length > 0) among(`l.t${n}`, [t].flat() as Hex[])
  const found = store.db
    .prepare(
      `SELECT l.*, t.hash AS txHash FROM logs l JOIN txs t ON t.block = l.block AND t.idx = l.tx
       WHERE ${where.join(' AND ')} ORDER BY l.block, l.idx LIMIT ${LOG_LIMIT + 1}`,
    )
    .iterate(...values) as IterableIterator<LogRow & { txHash: Uint8Array }>
  const rows: (LogRow & { txHash: Uint8Array })[] = []
  let size = 0
  for (const row of found) {
    rows.push(row)
    size += row.data.length
    if (rows.length <= LOG_LIMIT && size <= LOG_BYTES) continue
    const most = `${LOG_LIMIT} logs or ${LOG_BYTES} bytes`
    throw new ZosError(`Read logs: more than ${most} in blocks ${from} to ${to}; ask for a smaller range`, {
      code: 'too-many-logs',
    })
  }
  const blocks = new Map<number, BlockRow>()
  return rows.map((l) => {
    const row = blocks.get(l.block) ?? store.block(l.block)!
    blocks.set(l.block, row)
    return logView(l, row, l.txHash)
  })
}
