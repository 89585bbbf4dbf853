import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Block } from '@ethereumjs/block'
import type { Common } from '@ethereumjs/common'
import type { TypedTransaction } from '@ethereumjs/tx'
import { createAddressFromString } from '@ethereumjs/util'
import type { VM } from '@ethereumjs/vm'
import { reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { BLOCK_GAS } from './executor.ts'
import { Journal } from './journal.ts'
import { decodeTransaction, Pool, refuse, type Waiting } from './pool.ts'
import { type BlockRecord, encodeBlock } from './record.ts'
import { applyRecord, type ChainOptions, openStore, type Parts, recover } from './recovery.ts'
import type { Store } from './store.ts'
import type { NodeDb } from './trie.ts'
import type { Hex } from './types.ts'

const BLOCK_COUNT = 256

/** The embedded chain: journal first, then the block, then the answer. One process per folder. */
export class Chain implements AsyncDisposable {
  readonly common: Common
  readonly store: Store
  readonly genesis: Block
  readonly clock: () => number
  readonly #journal: Journal
  readonly #vm: VM
  readonly #db: NodeDb
  readonly #prune: Parts['prune']
  readonly #pool = new Pool()
  readonly #blockTime: number
  readonly #stop = new AbortController()
  #head: Block
  #making: Promise<void> | undefined
  #broken: ZosError | undefined

  private constructor(parts: Parts) {
    this.common = parts.common
    this.store = parts.store
    this.genesis = parts.genesis
    this.clock = parts.clock
    this.#journal = parts.journal
    this.#vm = parts.vm
    this.#db = parts.db
    this.#prune = parts.prune
    this.#head = parts.head
    this.#blockTime = parts.blockTime
  }

  static async open(options: ChainOptions): Promise<Chain> {
    await mkdir(options.dir, { recursive: true, mode: 0o700 })
    const store = await openStore(join(options.dir, 'state.db'))
    const journal = await Journal.open(join(options.dir, 'journal.log'))
    try {
      return await recover(store, journal, options, (parts) => new Chain(parts))
    } catch (error) {
      store[Symbol.dispose]()
      await journal[Symbol.asyncDispose]()
      throw error
    }
  }

  get head(): Block {
    return this.#head
  }

  /** Takes a signed transaction; returns when its block is on the disk and executed, so what is answered is final. */
  async submit(raw: Uint8Array): Promise<Hex> {
    const { tx, sender } = decodeTransaction(raw, this.common)
    const hash = `0x${Buffer.from(tx.hash()).toString('hex')}` as Hex
    if (this.store.db.prepare('SELECT 1 FROM txs WHERE hash = ?').get(tx.hash())) return hash
    if (this.#broken) throw this.#broken
    const before = this.#pool.find(sender, tx.nonce)
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: unknown) => (error === undefined ? resolve() : reject(error))
      if (before?.hash === hash) {
        const first = before.settle
        before.settle = (error) => {
          first(error)
          settle(error)
        }
      } else this.#pool.add(tx, raw, sender, settle)
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined
      })
    })
    return hash
  }

  async #make(): Promise<void> {
    // one turn of the loop lets transactions that came together share a block
    await (this.#blockTime > 0 ? this.#tick() : sleep(1, this.#stop.signal).catch(() => {}))
    while (this.#pool.size > 0 && !this.#stop.signal.aborted && !this.#broken) {
      const nonceOf = async (sender: string) =>
        (await this.#vm.stateManager.getAccount(createAddressFromString(sender)))?.nonce ?? 0n
      const batch = await this.#pool.take(BLOCK_GAS, BLOCK_COUNT, nonceOf)
      if (batch.length > 0) await this.#block(batch)
      if (this.#pool.size > 0 && this.#blockTime > 0) await this.#tick()
      else if (batch.length === 0) await sleep(50, this.#stop.signal).catch(() => {})
    }
    if (this.#broken) this.#pool.failAll(this.#broken)
  }

  #tick(): Promise<void> {
    const ms = this.#blockTime - (this.clock() % this.#blockTime)
    return sleep(ms, this.#stop.signal).catch(() => {})
  }

  async #block(batch: Waiting[]): Promise<void> {
    const faultOf = await this.#commit(batch)
    this.#pool.done()
    for (const w of batch) w.settle(faultOf(w))
  }

  /** Writes down a block of BATCH and executes it: what became of each. */
  async #commit(batch: Waiting[]): Promise<(w: Waiting) => unknown> {
    const record: BlockRecord = {
      number: Number(this.#head.header.number) + 1,
      timestamp: Math.max(Math.floor(this.clock() / 1000), Number(this.#head.header.timestamp)),
      parent: this.#head.hash(),
      transactions: batch.map((w) => w.raw),
    }
    try {
      await this.#journal.append(encodeBlock(record))
    } catch (error) {
      return () => error
    }
    try {
      const included = await this.#apply(
        record,
        batch.map((w) => w.tx),
      )
      return (w) => (included.has(w.hash) ? undefined : refuse('it could not be applied to the state'))
    } catch (cause) {
      // the journal holds it and memory may not: only a restart, which replays it, is safe
      const broken = new ZosError(`Execute block ${record.number}: ${reasonOf(cause)}; restart the chain`, {
        code: 'chain-broken',
        kind: 'bug',
        cause,
      })
      this.#broken = broken
      return () => broken
    }
  }

  async #apply(record: BlockRecord, txs: TypedTransaction[]): Promise<Set<Hex>> {
    const parts = { vm: this.#vm, db: this.#db, store: this.store, prune: this.#prune }
    this.#head = await applyRecord(parts, this.#head, record, this.#journal.end, txs)
    const rows = this.store.db.prepare('SELECT hash FROM txs WHERE block = ?').all(record.number)
    return new Set(rows.map((r) => `0x${Buffer.from(r.hash as Uint8Array).toString('hex')}` as Hex))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#broken ??= new ZosError('Take transaction: the chain is being closed', { code: 'closed', kind: 'node' })
    await this.#making
    this.#pool.failAll(this.#broken)
    this.store[Symbol.dispose]()
    await this.#journal[Symbol.asyncDispose]()
  }
}
