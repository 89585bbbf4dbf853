import { createBlockHeaderFromRLP } from '@ethereumjs/block'
import { createTxFromRLP } from '@ethereumjs/tx'
import { ZosError } from '#codec'
import { z } from '#npm'
import type { Chain } from './chain.ts'
import { Reader, Reverted } from './read.ts'
import type { BlockRow, LogRow, TxRow } from './store.ts'
import type { Hex } from './types.ts'

const hexData = z
  .string()
  .regex(/^0x([0-9a-fA-F]{2})*$/)
  .max(2 * 1024 * 1024) as unknown as z.ZodType<Hex>
const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/) as unknown as z.ZodType<Hex>
const hash = z.string().regex(/^0x[0-9a-fA-F]{64}$/) as unknown as z.ZodType<Hex>
const quantity = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,64}$/)
  .transform((q) => BigInt(q))
const tag = z.union([
  z.enum(['latest', 'pending', 'safe', 'finalized', 'earliest']),
  quantity,
  z.object({ blockNumber: quantity }).transform((o) => o.blockNumber),
  z.object({ blockHash: hash }),
])
const at = tag.default('latest')
const callObject = z.object({
  from: address.optional(),
  to: address.nullish(),
  data: hexData.optional(),
  input: hexData.optional(),
  gas: quantity.optional(),
})
const topic = z.union([hash, z.null(), z.array(hash).max(32)])
const filter = z.object({
  fromBlock: tag.optional(),
  toBlock: tag.optional(),
  blockHash: hash.optional(),
  address: z.union([address, z.array(address).max(32)]).optional(),
  topics: z.array(topic).max(4).optional(),
})

/** Rows, and bytes of data, that one eth_getLogs may give; more is refused, and the caller narrows its range. */
export const LOG_LIMIT = 10_000
/** More than one block's gas can pay for: 24 a byte, as calldata and in an event. */
const LOG_BYTES = 4 << 20

const q = (n: number | bigint): Hex => `0x${n.toString(16)}`
const hex = (b: Uint8Array): Hex => `0x${Buffer.from(b).toString('hex')}`
const bytes = (h: Hex) => Buffer.from(h.slice(2), 'hex')

export type Methods = Record<string, (params: unknown[]) => unknown | Promise<unknown>>

/** The JSON-RPC methods of the embedded chain: what viem needs to read, call and send, and nothing that administers. */
export function methodsOf(chain: Chain): Methods {
  const reader = new Reader(chain)
  const { store } = chain
  const byHash = store.db.prepare('SELECT * FROM blocks WHERE hash = ?')
  const txByHash = store.db.prepare('SELECT * FROM txs WHERE hash = ?')
  const txsOf = store.db.prepare('SELECT * FROM txs WHERE block = ? ORDER BY idx')
  const logsOf = store.db.prepare('SELECT * FROM logs WHERE block = ? AND tx = ? ORDER BY idx')

  const find = (t: z.infer<typeof tag>): BlockRow | undefined => {
    if (typeof t === 'object') return byHash.get(bytes(t.blockHash)) as BlockRow | undefined
    if (t === 'earliest') return store.block(0)
    // every block is on the disk before it is told of, so all tags but "earliest" mean the head
    if (typeof t === 'string') return store.block(store.meta('head')!)
    return t > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : store.block(Number(t))
  }
  const must = (t: z.infer<typeof tag>): BlockRow => {
    const row = find(t)
    if (!row)
      throw new ZosError(`Read block "${typeof t === 'object' ? t.blockHash : t}": there is none`, { code: 'no-block' })
    return row
  }
  const params = <T extends z.ZodType>(shape: T, given: unknown[]): z.infer<T> => {
    const parsed = shape.safeParse(given)
    if (parsed.success) return parsed.data
    const issue = parsed.error.issues[0]!
    throw new ZosError(`Read parameters at "${issue.path.join('.')}": ${issue.message}`, { code: 'bad-params' })
  }
  const block = (row: BlockRow | undefined, full: boolean) => {
    if (!row) return null
    const h = createBlockHeaderFromRLP(row.header, { common: chain.common })
    const txs = txsOf.all(row.number) as TxRow[]
    return {
      ...h.toJSON(),
      hash: hex(row.hash),
      number: q(row.number),
      sha3Uncles: h.toJSON().uncleHash,
      transactionsRoot: h.toJSON().transactionsTrie,
      receiptsRoot: h.toJSON().receiptTrie,
      miner: h.toJSON().coinbase,
      timestamp: q(row.timestamp),
      totalDifficulty: '0x0',
      size: q(row.header.length),
      uncles: [],
      transactions: full ? txs.map((t) => transaction(t, row)) : txs.map((t) => hex(t.hash)),
    }
  }
  const transaction = (t: TxRow, row: BlockRow) => ({
    ...createTxFromRLP(t.raw, { common: chain.common }).toJSON(),
    gas: q(createTxFromRLP(t.raw, { common: chain.common }).gasLimit),
    gasPrice: '0x0',
    input: hex(createTxFromRLP(t.raw, { common: chain.common }).data),
    hash: hex(t.hash),
    from: hex(t.sender),
    to: t.target ? hex(t.target) : null,
    blockHash: hex(row.hash),
    blockNumber: q(row.number),
    transactionIndex: q(t.idx),
  })
  const log = (l: LogRow, row: BlockRow, txHash: Uint8Array) => ({
    address: hex(l.address),
    topics: [l.t0, l.t1, l.t2, l.t3].filter((t) => t !== null).map((t) => hex(t)),
    data: hex(l.data),
    blockNumber: q(l.block),
    blockHash: hex(row.hash),
    transactionHash: hex(txHash),
    transactionIndex: q(l.tx),
    logIndex: q(l.idx),
    removed: false,
  })
  const receipt = (t: TxRow | undefined) => {
    if (!t) return null
    const row = store.block(t.block)!
    return {
      transactionHash: hex(t.hash),
      transactionIndex: q(t.idx),
      blockHash: hex(row.hash),
      blockNumber: q(t.block),
      from: hex(t.sender),
      to: t.target ? hex(t.target) : null,
      contractAddress: t.created ? hex(t.created) : null,
      status: q(t.status),
      gasUsed: q(t.gas),
      cumulativeGasUsed: q(t.cumulative),
      effectiveGasPrice: '0x0',
      logsBloom: `0x${'00'.repeat(256)}`,
      type: q(t.raw[0]! > 0x7f ? 0 : t.raw[0]!),
      logs: (logsOf.all(t.block, t.idx) as LogRow[]).map((l) => log(l, row, t.hash)),
    }
  }
  const logs = (f: z.infer<typeof filter>) => {
    const one = f.blockHash ? must({ blockHash: f.blockHash }).number : undefined
    const head = store.meta('head')!
    // a range may reach past the head: what is not yet there has no logs
    const number = (t: z.infer<typeof tag>) =>
      typeof t === 'bigint' ? Number(t > BigInt(head) ? BigInt(head) + 1n : t) : must(t).number
    const from = one ?? number(f.fromBlock ?? 'latest')
    const to = one ?? number(f.toBlock ?? 'latest')
    const where = ['l.block BETWEEN ? AND ?']
    const values: (number | Buffer)[] = [from, to]
    const among = (column: string, any: Hex[]) => {
      where.push(`${column} IN (${any.map(() => '?').join()})`)
      values.push(...any.map(bytes))
    }
    if (f.address) among('l.address', [f.address].flat())
    for (const [n, t] of (f.topics ?? []).entries())
      if (t !== null && t.length > 0) among(`l.t${n}`, [t].flat() as Hex[])
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
      return log(l, row, l.txHash)
    })
  }
  const callOf = (c: z.infer<typeof callObject>) => ({
    from: c.from,
    to: c.to ?? undefined,
    data: c.data ?? c.input,
    gas: c.gas,
  })

  return {
    web3_clientVersion: () => 'zos/1',
    net_version: () => chain.common.chainId().toString(),
    eth_chainId: () => q(chain.common.chainId()),
    eth_blockNumber: () => q(store.meta('head')!),
    eth_syncing: () => false,
    // free: the chain is its group's own, and whoever reaches the socket may relay
    eth_gasPrice: () => '0x0',
    eth_maxPriorityFeePerGas: () => '0x0',
    eth_feeHistory: (p) => {
      const [count] = params(z.tuple([quantity, tag]).rest(z.unknown()), p)
      const n = Number(count > 16n ? 16n : count)
      const head = store.meta('head')!
      return {
        oldestBlock: q(Math.max(0, head - n + 1)),
        baseFeePerGas: Array.from({ length: n + 1 }, () => '0x0'),
        gasUsedRatio: Array.from({ length: n }, () => 0),
        reward: Array.from({ length: n }, () => ['0x0']),
      }
    },
    eth_call: (p) => {
      const [c, t] = params(z.tuple([callObject, at]).rest(z.unknown()), p.length < 2 ? [p[0], 'latest'] : p)
      return reader.call(must(t), callOf(c))
    },
    eth_estimateGas: async (p) => {
      const [c, t] = params(z.tuple([callObject, at]).rest(z.unknown()), p.length < 2 ? [p[0], 'latest'] : p)
      return q(await reader.estimate(must(t), callOf(c)))
    },
    eth_getTransactionCount: async (p) => {
      const [a, t] = params(z.tuple([address, at]), p.length < 2 ? [p[0], 'latest'] : p)
      return q((await reader.account(must(t), a)).nonce)
    },
    eth_getBalance: async (p) => {
      const [a, t] = params(z.tuple([address, at]), p.length < 2 ? [p[0], 'latest'] : p)
      return q((await reader.account(must(t), a)).balance)
    },
    eth_getCode: (p) => {
      const [a, t] = params(z.tuple([address, at]), p.length < 2 ? [p[0], 'latest'] : p)
      return reader.code(must(t), a)
    },
    eth_getProof: (p) => {
      const [a, slots, t] = params(
        z.tuple([address, z.array(quantity).max(64), at]),
        p.length < 3 ? [...p, 'latest'] : p,
      )
      return reader.proof(
        must(t),
        a,
        slots.map((s) => q(s)),
      )
    },
    eth_sendRawTransaction: (p) => chain.submit(bytes(params(z.tuple([hexData]), p)[0])),
    eth_getTransactionReceipt: (p) => receipt(txByHash.get(bytes(params(z.tuple([hash]), p)[0])) as TxRow | undefined),
    eth_getTransactionByHash: (p) => {
      const t = txByHash.get(bytes(params(z.tuple([hash]), p)[0])) as TxRow | undefined
      return t ? transaction(t, store.block(t.block)!) : null
    },
    eth_getBlockByNumber: (p) => {
      const [t, full] = params(z.tuple([tag, z.boolean().default(false)]), p.length < 2 ? [p[0], false] : p)
      return block(find(t), full)
    },
    eth_getBlockByHash: (p) => {
      const [h, full] = params(z.tuple([hash, z.boolean().default(false)]), p.length < 2 ? [p[0], false] : p)
      return block(find({ blockHash: h }), full)
    },
    eth_getLogs: (p) => logs(params(z.tuple([filter]), p)[0]),
  }
}

/** The JSON-RPC error object for whatever a method threw. */
export function rpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof Reverted) return { code: 3, message: error.message, data: error.data }
  if (error instanceof ZosError) {
    const code = error.code === 'bad-params' ? -32602 : -32000
    return { code, message: error.message, data: { code: error.code } }
  }
  return { code: -32603, message: 'internal error' }
}
