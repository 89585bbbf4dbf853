import { createBlockHeaderFromRLP } from '@ethereumjs/block'
import { createTxFromRLP } from '@ethereumjs/tx'
import type { Chain } from './chain.ts'
import type { BlockRow, LogRow, TxRow } from './store.ts'
import type { Hex } from './types.ts'

export const q = (n: number | bigint): Hex => `0x${n.toString(16)}`
const hex = (b: Uint8Array): Hex => `0x${Buffer.from(b).toString('hex')}`

/** A log as JSON-RPC has it; ROW is its block. */
export const logView = (l: LogRow, row: BlockRow, txHash: Uint8Array) => ({
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

/** Blocks, transactions and receipts of CHAIN as JSON-RPC has them. */
export function viewsOf({ store, common }: Chain) {
  const txsOf = store.db.prepare('SELECT * FROM txs WHERE block = ? ORDER BY idx')
  const logsOf = store.db.prepare('SELECT * FROM logs WHERE block = ? AND tx = ? ORDER BY idx')

  const transaction = (t: TxRow, row: BlockRow) => {
    const tx = createTxFromRLP(t.raw, { common })
    return {
      ...tx.toJSON(),
      gas: q(tx.gasLimit),
      gasPrice: '0x0',
      input: hex(tx.data),
      hash: hex(t.hash),
      from: hex(t.sender),
      to: t.target ? hex(t.target) : null,
      blockHash: hex(row.hash),
      blockNumber: q(row.number),
      transactionIndex: q(t.idx),
    }
  }

  const block = (row: BlockRow, full: boolean) => {
    const header = createBlockHeaderFromRLP(row.header, { common }).toJSON()
    const txs = txsOf.all(row.number) as TxRow[]
    return {
      ...header,
      hash: hex(row.hash),
      number: q(row.number),
      sha3Uncles: header.uncleHash,
      transactionsRoot: header.transactionsTrie,
      receiptsRoot: header.receiptTrie,
      miner: header.coinbase,
      timestamp: q(row.timestamp),
      totalDifficulty: '0x0',
      size: q(row.header.length),
      uncles: [],
      transactions: full ? txs.map((t) => transaction(t, row)) : txs.map((t) => hex(t.hash)),
    }
  }

  const receipt = (t: TxRow) => {
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
      // the first byte of a typed transaction (EIP-2718); a legacy one is an RLP list
      type: q(t.raw[0]! > 0x7f ? 0 : t.raw[0]!),
      logs: (logsOf.all(t.block, t.idx) as LogRow[]).map((l) => logView(l, row, t.hash)),
    }
  }

  return { transaction, block, receipt }
}
