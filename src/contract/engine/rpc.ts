import { ZosError } from '#codec'
import { z } from '#npm'
import type { Chain } from './chain.ts'
import { Reader, Reverted } from './read.ts'
import { logsOf } from './rpc_logs.ts'
import {
  address,
  at,
  type CallObject,
  callObject,
  filter,
  hash,
  hexData,
  orLatest,
  params,
  quantity,
  type Tag,
  tag,
} from './rpc_params.ts'
import { q, viewsOf } from './rpc_views.ts'
import type { BlockRow, TxRow } from './store.ts'
import type { Hex } from './types.ts'

const bytes = (h: Hex) => Buffer.from(h.slice(2), 'hex')

export type Methods = Record<string, (params: unknown[]) => unknown | Promise<unknown>>

/** The JSON-RPC methods of the embedded chain: what viem needs to read, call and send, and nothing that administers. */
export function methodsOf(chain: Chain): Methods {
  const reader = new Reader(chain)
  const views = viewsOf(chain)
  const { store } = chain
  const byHash = store.db.prepare('SELECT * FROM blocks WHERE hash = ?')
  const txByHash = store.db.prepare('SELECT * FROM txs WHERE hash = ?')

  const find = (t: Tag): BlockRow | undefined => {
    if (typeof t === 'object') return byHash.get(bytes(t.blockHash)) as BlockRow | undefined
    if (t === 'earliest') return store.block(0)
    // every block is on the disk before it is told of, so all tags but "earliest" mean the head
    if (typeof t === 'string') return store.block(store.meta('head')!)
    return t > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : store.block(Number(t))
  }
  const must = (t: Tag): BlockRow => {
    const row = find(t)
    if (!row)
      throw new ZosError(`Read block "${typeof t === 'object' ? t.blockHash : t}": there is none`, { code: 'no-block' })
    return row
  }
  const blockOf = (t: Tag, full: boolean) => {
    const row = find(t)
    return row ? views.block(row, full) : null
  }
  const transactionOf = (p: unknown[]) => txByHash.get(bytes(params(z.tuple([hash]), p)[0])) as TxRow | undefined
  const callOf = (c: CallObject) => ({
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
      const [c, t] = params(z.tuple([callObject, at]).rest(z.unknown()), orLatest(p))
      return reader.call(must(t), callOf(c))
    },
    eth_estimateGas: async (p) => {
      const [c, t] = params(z.tuple([callObject, at]).rest(z.unknown()), orLatest(p))
      return q(await reader.estimate(must(t), callOf(c)))
    },
    eth_getTransactionCount: async (p) => {
      const [a, t] = params(z.tuple([address, at]), orLatest(p))
      return q((await reader.account(must(t), a)).nonce)
    },
    eth_getBalance: async (p) => {
      const [a, t] = params(z.tuple([address, at]), orLatest(p))
      return q((await reader.account(must(t), a)).balance)
    },
    eth_getCode: (p) => {
      const [a, t] = params(z.tuple([address, at]), orLatest(p))
      return reader.code(must(t), a)
    },
    eth_getProof: (p) => {
      const [a, slots, t] = params(z.tuple([address, z.array(quantity).max(64), at]), orLatest(p, 2))
      return reader.proof(must(t), a, slots.map(q))
    },
    eth_sendRawTransaction: (p) => chain.submit(bytes(params(z.tuple([hexData]), p)[0])),
    eth_getTransactionReceipt: (p) => {
      const t = transactionOf(p)
      return t ? views.receipt(t) : null
    },
    eth_getTransactionByHash: (p) => {
      const t = transactionOf(p)
      return t ? views.transaction(t, store.block(t.block)!) : null
    },
    eth_getBlockByNumber: (p) => {
      const [t, full] = params(z.tuple([tag, z.boolean().default(false)]), p.length < 2 ? [p[0], false] : p)
      return blockOf(t, full)
    },
    eth_getBlockByHash: (p) => {
      const [h, full] = params(z.tuple([hash, z.boolean().default(false)]), p.length < 2 ? [p[0], false] : p)
      return blockOf({ blockHash: h }, full)
    },
    eth_getLogs: (p) => logsOf(store, must, params(z.tuple([filter]), p)[0]),
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
