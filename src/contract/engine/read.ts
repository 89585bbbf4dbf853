import { type Block, createBlock, createBlockHeaderFromRLP } from '@ethereumjs/block'
import { getMerkleStateProof, type MerkleStateManager } from '@ethereumjs/statemanager'
import { createTx, type TypedTransaction } from '@ethereumjs/tx'
import { type Address, createAddressFromString, createZeroAddress, hexToBytes } from '@ethereumjs/util'
import { runTx, type VM } from '@ethereumjs/vm'
import { ZosError } from '#codec'
import type { Chain } from './chain.ts'
import { openVm } from './executor.ts'
import { TX_GAS } from './pool.ts'
import { KEEP_STATES } from './prune.ts'
import type { BlockRow } from './store.ts'
import { NodeDb } from './trie.ts'
import type { Hex } from './types.ts'

/** Gas one call may use. It bounds time: a loop costs this machine up to 1 s per million, and nothing else runs then. */
const CALL_GAS = 3_000_000n

export type CallParameters = {
  from?: Hex | undefined
  to?: Hex | undefined
  data?: Hex | undefined
  gas?: bigint | undefined
}

/** Thrown for a call that reverted, with what it returned. */
export class Reverted extends Error {
  readonly data: Hex
  constructor(data: Hex) {
    super('execution reverted')
    this.data = data
  }
}

const hex = (bytes: Uint8Array): Hex => `0x${Buffer.from(bytes).toString('hex')}`

/**
 * Reads state at a block, on a machine of its own: what a block being made has written is not seen. One at a time.
 */
export class Reader {
  readonly #chain: Chain
  #vm: VM | undefined
  #queue: Promise<unknown> = Promise.resolve()

  constructor(chain: Chain) {
    this.#chain = chain
  }

  #at<T>(row: BlockRow, work: (vm: VM, block: Block) => Promise<T>): Promise<T> {
    const done = this.#queue.then(async () => {
      if (row.number < Number(this.#chain.head.header.number) - KEEP_STATES) {
        throw new ZosError(`Read state of block ${row.number}: only the last ${KEEP_STATES} are kept`, {
          code: 'state-pruned',
        })
      }
      const { common, store } = this.#chain
      this.#vm ??= await openVm(new NodeDb(store), common)
      const vm = this.#vm
      if (row.number > 0) await vm.stateManager.setStateRoot(row.root)
      const header = createBlockHeaderFromRLP(row.header, { common })
      // a call sees the time of the block that would come next
      const timestamp = Math.max(row.timestamp, Math.floor(this.#chain.clock() / 1000))
      const block = createBlock(
        { header: { number: header.number, timestamp, gasLimit: header.gasLimit, baseFeePerGas: 0n } },
        { common },
      )
      await vm.evm.journal.checkpoint()
      try {
        return await work(vm, block)
      } finally {
        await vm.evm.journal.revert()
        await vm.evm.journal.cleanup()
      }
    })
    this.#queue = done.catch(() => {})
    return done
  }

  call(row: BlockRow, p: CallParameters): Promise<Hex> {
    return this.#at(row, async (vm, block) => {
      const gasLimit = p.gas !== undefined && p.gas < CALL_GAS ? p.gas : CALL_GAS
      const { execResult } = await vm.evm.runCall({
        ...(p.to ? { to: createAddressFromString(p.to) } : {}),
        caller: addressOf(p.from),
        data: hexToBytes(p.data ?? '0x'),
        gasLimit,
        block,
        skipBalance: true,
      })
      if (execResult.exceptionError) throw failure(execResult.exceptionError.error, execResult.returnValue)
      return hex(execResult.returnValue)
    })
  }

  /** Gas a transaction would use, with a tenth on top: state may have moved when it is executed. */
  estimate(row: BlockRow, p: CallParameters): Promise<bigint> {
    return this.#at(row, async (vm, block) => {
      const from = addressOf(p.from)
      const tx = createTx(
        {
          type: 2,
          ...(p.to ? { to: p.to } : {}),
          data: p.data ?? '0x',
          gasLimit: TX_GAS,
          maxFeePerGas: 0,
          maxPriorityFeePerGas: 0,
        },
        { common: vm.common, freeze: false },
      )
      tx.getSenderAddress = () => from
      const options = { tx: tx as TypedTransaction, block, skipNonce: true, skipBalance: true }
      const { execResult, totalGasSpent, gasRefund } = await runTx(vm, { ...options, skipHardForkValidation: true })
      if (execResult.exceptionError) throw failure(execResult.exceptionError.error, execResult.returnValue)
      return ((totalGasSpent + gasRefund) * 11n) / 10n + 5000n
    })
  }

  account(row: BlockRow, address: Hex): Promise<{ nonce: bigint; balance: bigint }> {
    return this.#at(row, async (vm) => {
      const account = await vm.stateManager.getAccount(createAddressFromString(address))
      return { nonce: account?.nonce ?? 0n, balance: account?.balance ?? 0n }
    })
  }

  code(row: BlockRow, address: Hex): Promise<Hex> {
    return this.#at(row, async (vm) => hex(await vm.stateManager.getCode(createAddressFromString(address))))
  }

  /** EIP-1186. */
  proof(row: BlockRow, address: Hex, slots: Hex[]): Promise<unknown> {
    return this.#at(row, (vm) =>
      getMerkleStateProof(
        vm.stateManager as MerkleStateManager,
        createAddressFromString(address),
        slots.map((s) => hexToBytes(`0x${s.slice(2).padStart(64, '0')}`)),
      ),
    )
  }
}

const addressOf = (from: Hex | undefined): Address => (from ? createAddressFromString(from) : createZeroAddress())

function failure(reason: string, returned: Uint8Array): Error {
  if (reason === 'revert') return new Reverted(hex(returned))
  return new ZosError(`Call contract: ${reason}`, { code: 'call-failed' })
}
