import type { Common } from '@ethereumjs/common'
import { createTxFromRLP, TransactionType, type TypedTransaction } from '@ethereumjs/tx'
import { bytesToHex } from '@ethereumjs/util'
import { reasonOf, ZosError } from '#codec'
import type { Hex } from './types.ts'

/** Bounds of what may wait: bytes of one transaction, gas of one, how many in all and of one sender. */
const RAW_LIMIT = 128 << 10
export const TX_GAS = 10_000_000n
const POOL_LIMIT = 2048
const SENDER_LIMIT = 128
/** How long a transaction may wait for the nonce before it. */
const GAP_MS = 5000

export type Waiting = {
  hash: Hex
  tx: TypedTransaction
  raw: Uint8Array
  sender: string
  nonce: bigint
  gas: bigint
  since: number
  settle: (error?: unknown) => void
}

export const refuse = (reason: string, code = 'transaction-refused') =>
  new ZosError(`Take transaction: ${reason}`, { code, kind: 'user' })

/** Decodes and checks what needs no state: form, chain, signature, gas. */
export function decodeTransaction(raw: Uint8Array, common: Common): { tx: TypedTransaction; sender: string } {
  if (raw.length > RAW_LIMIT) throw refuse(`${raw.length} bytes, above the limit of ${RAW_LIMIT}`)
  try {
    const tx = createTxFromRLP(raw, { common })
    if (tx.type === TransactionType.BlobEIP4844) throw new Error('blob transactions are not taken')
    if (!tx.isSigned() || !tx.isValid()) throw new Error(tx.getValidationErrors()[0] ?? 'not signed')
    if (tx.type === TransactionType.Legacy && !tx.supports(155)) throw new Error('no chain id (EIP-155)')
    if (tx.gasLimit > TX_GAS) throw new Error(`gas ${tx.gasLimit} above the limit of ${TX_GAS}`)
    return { tx, sender: tx.getSenderAddress().toString() }
  } catch (cause) {
    throw refuse(reasonOf(cause).split('\n')[0]!.slice(0, 200))
  }
}

/** Transactions that wait for a block: by sender and nonce, bounded, each settled exactly once. */
export class Pool {
  readonly #bySender = new Map<string, Map<bigint, Waiting>>()
  /** Of the block that is being made. */
  #taken: Waiting[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** What waits for a block, or for the end of the one it was taken into. */
  find(sender: string, nonce: bigint): Waiting | undefined {
    const taken = this.#taken.find((w) => w.sender === sender && w.nonce === nonce)
    return taken ?? this.#bySender.get(sender)?.get(nonce)
  }

  add(tx: TypedTransaction, raw: Uint8Array, sender: string, settle: Waiting['settle']): void {
    const own = this.#bySender.get(sender) ?? new Map<bigint, Waiting>()
    if (own.has(tx.nonce)) throw refuse(`nonce ${tx.nonce} of ${sender} is taken by another that waits`)
    if (this.#size >= POOL_LIMIT || own.size >= SENDER_LIMIT) throw refuse('too many wait; try again', 'busy')
    own.set(tx.nonce, {
      hash: bytesToHex(tx.hash()),
      tx,
      raw,
      sender,
      nonce: tx.nonce,
      gas: tx.gasLimit,
      since: performance.now(),
      settle,
    })
    this.#bySender.set(sender, own)
    this.#size++
  }

  /** Takes what may go into the next block, until `done`: each sender's run of nonces from its state's on, within GAS. */
  async take(gas: bigint, count: number, nonceOf: (sender: string) => Promise<bigint>): Promise<Waiting[]> {
    const taken: Waiting[] = []
    this.#taken = taken
    let left = gas
    for (const [sender, own] of this.#bySender) {
      let next = await nonceOf(sender)
      for (const [nonce, w] of own) {
        if (nonce < next) this.#drop(w, refuse(`nonce ${nonce} of ${sender} is too low, ${next} is next`))
        else if (nonce > next && performance.now() - w.since > GAP_MS)
          this.#drop(w, refuse(`nonce ${nonce} of ${sender} is too high, ${next} is next`))
      }
      for (;;) {
        const w = own.get(next)
        if (!w || w.gas > left || taken.length === count) break
        taken.push(w)
        left -= w.gas
        this.#remove(w)
        next++
      }
    }
    return taken
  }

  /** What was taken is about to be settled: nobody may wait for it any more. */
  done(): void {
    this.#taken = []
  }

  #remove(w: Waiting): void {
    const own = this.#bySender.get(w.sender)!
    own.delete(w.nonce)
    if (own.size === 0) this.#bySender.delete(w.sender)
    this.#size--
  }

  #drop(w: Waiting, error: ZosError): void {
    this.#remove(w)
    w.settle(error)
  }

  failAll(error: ZosError): void {
    for (const own of [...this.#bySender.values()]) for (const w of [...own.values()]) this.#drop(w, error)
  }
}
