// A network where gas costs something, as far as a relayer sees it: a pool with geth's rules, a base fee, blocks on demand. For tests.
import { fromRlp, keccak256 } from '#npm'
import type { Engine } from '../engine/types.ts'

type Hex = `0x${string}`
type Waiting = { hash: Hex; nonce: number; tip: bigint; fee: bigint; gas: bigint; to: Hex; data: Hex }

const q = (n: number | bigint): Hex => `0x${n.toString(16)}`
const fault = (message: string) => Object.assign(new Error(message), { code: -32000 })

export type Market = {
  engine: Engine
  /** Wei per gas; what the one account has; the number of its next transaction that is in no block. */
  base: bigint
  balance: bigint
  count: number
  pool: Map<number, Waiting>
  /** All that the pool has taken, in that order. */
  offers: Waiting[]
  /** What is in blocks, in their order. */
  mined: { nonce: number; data: Hex; fee: bigint }[]
  /** What estimates throw. */
  refuses: Error | undefined
  /** Errors for the next transactions that are offered, when they come. */
  deaf: (Error | Promise<Error>)[]
  /** Puts into a block what pays for it. */
  mine(): void
  /** Leaves in the pool what a process that is gone offered, for FEE wei at the most. */
  leave(nonce: number, fee: bigint): void
  /** Puts into a block what was never seen here, of that account. */
  other(): void
}

/** Base fee 1 gwei, tip 1 gwei, 21,000 gas for anything. */
export function openMarket(): Market {
  const receipts = new Map<Hex, object>()
  const tip = 10n ** 9n
  let block = 1
  const take = async (raw: Hex): Promise<Hex> => {
    const [, nonce, its, fee, gas, to, , data] = fromRlp(`0x${raw.slice(4)}`, 'hex') as Hex[]
    const number = (h: Hex | undefined) => (h === '0x' ? 0n : BigInt(h!))
    const now = { hash: keccak256(raw), tip: number(its), fee: number(fee), gas: number(gas), to: to!, data: data! }
    const n = Number(number(nonce))
    if (market.deaf.length > 0) throw await market.deaf.shift()
    const before = market.pool.get(n)
    if (n < market.count) throw fault(`nonce too low: next nonce ${market.count}, tx nonce ${n}`)
    if (before?.hash === now.hash) throw fault('already known')
    if (now.gas * now.fee > market.balance) throw fault('insufficient funds for gas * price + value')
    if (before && (now.tip * 10n < before.tip * 11n || now.fee * 10n < before.fee * 11n))
      throw fault('replacement transaction underpriced')
    market.pool.set(n, { ...now, nonce: n })
    market.offers.push({ ...now, nonce: n })
    return now.hash
  }
  const pending = () => {
    let n = market.count
    while (market.pool.has(n)) n++
    return n
  }
  const answers: Record<string, (params: unknown[]) => unknown> = {
    eth_gasPrice: () => q(market.base + tip),
    eth_maxPriorityFeePerGas: () => q(tip),
    eth_getBlockByNumber: () => ({ baseFeePerGas: q(market.base) }),
    eth_getBalance: () => q(market.balance),
    eth_getTransactionCount: ([, tag]) => q(tag === 'pending' ? pending() : market.count),
    eth_estimateGas: () => {
      if (market.refuses) throw market.refuses
      return q(21_000)
    },
    eth_sendRawTransaction: ([raw]) => take(raw as Hex),
    eth_getTransactionReceipt: ([hash]) => receipts.get(hash as Hex) ?? null,
  }
  const market: Market = {
    engine: {
      chainId: 7,
      genesis: `0x${'00'.repeat(32)}`,
      request: async ({ method, params }) => answers[method]!(params as unknown[]),
      finalized: () => Promise.reject(new Error('nobody asks')),
      async [Symbol.asyncDispose]() {},
    },
    base: 10n ** 9n,
    balance: 10n ** 18n,
    count: 0,
    pool: new Map(),
    offers: [],
    mined: [],
    refuses: undefined,
    deaf: [],
    mine() {
      block++
      for (;;) {
        const next = market.pool.get(market.count)
        if (!next || next.fee < market.base) return
        const paid = next.tip < next.fee - market.base ? market.base + next.tip : next.fee
        market.pool.delete(next.nonce)
        market.count++
        market.balance -= 21_000n * paid
        market.mined.push({ nonce: next.nonce, data: next.data, fee: next.fee })
        const gas = { gasUsed: q(21_000), effectiveGasPrice: q(paid) }
        receipts.set(next.hash, { transactionHash: next.hash, status: '0x1', blockNumber: q(block), ...gas })
      }
    },
    leave(nonce, fee) {
      const hash = `0x${nonce.toString(16).padStart(64, '0')}` as const
      market.pool.set(nonce, { hash, nonce, tip, fee, gas: 21_000n, to: '0x', data: '0x0f' })
    },
    other() {
      market.pool.delete(market.count)
      market.count++
    },
  }
  return market
}
