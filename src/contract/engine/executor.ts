import { setImmediate } from 'node:timers/promises'
import { type Block, createBlock } from '@ethereumjs/block'
import type { Common } from '@ethereumjs/common'
import { createTxFromRLP, type TypedTransaction } from '@ethereumjs/tx'
import { KECCAK256_RLP } from '@ethereumjs/util'
import { type BlockBuilder, buildBlock, createVM, type RunTxResult, type VM } from '@ethereumjs/vm'
import type { BlockRecord } from './record.ts'
import type { LogRow, TxRow } from './store.ts'
import type { NodeDb } from './trie.ts'
import { stateOver } from './trie.ts'

export const BLOCK_GAS = 60_000_000n

export type Executed = { block: Block; txs: TxRow[]; logs: LogRow[] }

export function genesisBlock(common: Common, timestamp: number): Block {
  return createBlock(
    { header: { number: 0, timestamp, gasLimit: BLOCK_GAS, baseFeePerGas: 0, stateRoot: KECCAK256_RLP } },
    { common },
  )
}

export async function openVm(db: NodeDb, common: Common, root?: Uint8Array): Promise<VM> {
  return createVM({ common, stateManager: stateOver(db, common, root) })
}

/**
 * Executes one record on top of PARENT. Deterministic: the same records from the same genesis give the same hashes,
 * live and on replay. A transaction that cannot be applied is left out, both times. DECODED spares recovering the
 * senders a second time.
 */
export async function execute(
  vm: VM,
  parent: Block,
  record: BlockRecord,
  decoded?: TypedTransaction[],
): Promise<Executed> {
  const builder: BlockBuilder = await buildBlock(vm, {
    parentBlock: parent,
    headerData: { timestamp: record.timestamp, gasLimit: BLOCK_GAS, baseFeePerGas: 0n },
    blockOpts: { putBlockIntoBlockchain: false },
  })
  const done: { tx: TypedTransaction; raw: Uint8Array; result: RunTxResult }[] = []
  for (const [n, raw] of record.transactions.entries()) {
    try {
      const tx = decoded?.[n] ?? createTxFromRLP(raw, { common: vm.common })
      done.push({ tx, raw, result: await builder.addTransaction(tx) })
      await setImmediate() // a block may take seconds: readers are served in between
    } catch {
      // left out: whoever sent it is told, for it has no receipt
    }
  }
  const { block } = await builder.build()
  return { block, ...rowsOf(record.number, done) }
}

function rowsOf(number: number, done: { tx: TypedTransaction; raw: Uint8Array; result: RunTxResult }[]) {
  const txs: TxRow[] = []
  const logs: LogRow[] = []
  for (const [idx, { tx, raw, result }] of done.entries()) {
    txs.push({
      hash: tx.hash(),
      block: number,
      idx,
      raw,
      sender: tx.getSenderAddress().bytes,
      target: tx.to?.bytes ?? null,
      created: result.createdAddress?.bytes ?? null,
      status: (result.receipt as { status: number }).status,
      gas: Number(result.totalGasSpent),
      cumulative: Number(result.receipt.cumulativeBlockGasUsed),
    })
    for (const [address, topics, data] of result.receipt.logs) {
      const [t0 = null, t1 = null, t2 = null, t3 = null] = topics
      logs.push({ block: number, tx: idx, idx: logs.length, address, t0, t1, t2, t3, data })
    }
  }
  return { txs, logs }
}
