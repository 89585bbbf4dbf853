import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Block, createBlock, createBlockHeaderFromRLP } from '@ethereumjs/block'
import type { Common } from '@ethereumjs/common'
import type { TypedTransaction } from '@ethereumjs/tx'
import { createAddressFromString } from '@ethereumjs/util'
import type { VM } from '@ethereumjs/vm'
import { reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import { BLOCK_GAS, execute, genesisBlock, openVm } from './executor.ts'
import { Journal } from './journal.ts'
import { decodeTransaction, Pool, refuse, type Waiting } from './pool.ts'
import { pruner } from './prune.ts'
import { type BlockRecord, decodeBlock, decodeGenesis, encodeBlock, encodeGenesis } from './record.ts'
import { Store } from './store.ts'
import { commonOf, NodeDb } from './trie.ts'
import type { Hex } from './types.ts'

export type ChainOptions = {
  dir: string
  /** Default 26426: not a public network's. Fixed at the first start. */
  chainId?: number
  /** Milliseconds between blocks; 0 makes one as soon as a transaction waits. */
  blockTime?: number
  /** Milliseconds since 1970; the machine's own unless a test moves time. */
  clock?: () => number
  /** Told while a start replays the journal. */
  onReplay?: (block: number) => void
}

const BLOCK_COUNT = 256

type Parts = {
  common: Common
  store: Store
  journal: Journal
  vm: VM
  db: NodeDb
  prune: ReturnType<typeof pruner>
  genesis: Block
  head: Block
  blockTime: number
  clock: () => number
}

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
    const record: BlockRecord = {
      number: Number(this.#head.header.number) + 1,
      timestamp: Math.max(Math.floor(this.clock() / 1000), Number(this.#head.header.timestamp)),
      parent: this.#head.hash(),
      transactions: batch.map((w) => w.raw),
    }
    try {
      await this.#journal.append(encodeBlock(record))
    } catch (error) {
      for (const w of batch) w.settle(error)
      return
    }
    try {
      const included = await this.#apply(
        record,
        batch.map((w) => w.tx),
      )
      for (const w of batch) w.settle(included.has(w.hash) ? undefined : refuse('it could not be applied to the state'))
    } catch (cause) {
      // the journal holds it and memory may not: only a restart, which replays it, is safe
      this.#broken = new ZosError(`Execute block ${record.number}: ${reasonOf(cause)}; restart the chain`, {
        code: 'chain-broken',
        kind: 'bug',
        cause,
      })
      for (const w of batch) w.settle(this.#broken)
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

/** Opens the state; one that cannot be read is made anew from the journal, which is the truth. */
async function openStore(path: string): Promise<Store> {
  try {
    return new Store(path)
  } catch (cause) {
    if (/locked|busy/.test(reasonOf(cause))) {
      throw new ZosError(`Open chain "${path}": another process runs it`, { code: 'chain-in-use', kind: 'node', cause })
    }
    for (const end of ['', '-wal', '-shm']) await rm(`${path}${end}`, { force: true })
    return new Store(path)
  }
}

type Applying = Pick<Parts, 'vm' | 'db' | 'store' | 'prune'>

async function applyRecord(
  parts: Applying,
  parent: Block,
  record: BlockRecord,
  offset: number,
  decoded?: TypedTransaction[],
): Promise<Block> {
  const { vm, db, store, prune } = parts
  if (record.number !== Number(parent.header.number) + 1 || !Buffer.from(parent.hash()).equals(record.parent)) {
    throw new ZosError(`Apply block ${record.number}: it does not follow block ${parent.header.number}`, {
      code: 'journal-damaged',
      kind: 'node',
    })
  }
  const { block, txs, logs } = await execute(vm, parent, record, decoded)
  store.transaction(() => {
    for (const [key, value] of db.dirty) store.putNode(Buffer.from(key, 'hex'), value, record.number)
    const header = block.header.serialize()
    const root = block.header.stateRoot
    store.addBlock({ number: record.number, hash: block.hash(), header, timestamp: record.timestamp, root }, txs, logs)
    store.setMeta('offset', offset)
    store.setMeta('head', record.number)
  })
  prune(record.number, db.dirty.size)
  db.dirty.clear()
  return block
}

const headerBlock = (bytes: Uint8Array, common: Common) =>
  createBlock({ header: createBlockHeaderFromRLP(bytes, { common }) }, { common })

async function recover<T>(
  store: Store,
  journal: Journal,
  options: ChainOptions,
  make: (parts: Parts) => T,
): Promise<T> {
  const clock = options.clock ?? Date.now
  const applied = store.meta('offset') ?? 0
  let chainId = store.meta('chainId')
  let common = commonOf(chainId ?? 1)
  let genesis: Block | undefined
  let head: Block | undefined
  let vm: VM | undefined
  const db = new NodeDb(store)
  const prune = pruner(store)
  const begin = async (): Promise<VM> => {
    genesis ??= headerBlock(store.block(0)!.header, common)
    head ??= headerBlock(store.block(store.meta('head')!)!.header, common)
    return openVm(db, common, head.header.number > 0n ? head.header.stateRoot : undefined)
  }
  const found = async (payload: Uint8Array, offset: number) => {
    const record = decodeGenesis(payload)
    chainId = record.chainId
    common = commonOf(chainId)
    const block = genesisBlock(common, record.timestamp)
    store.transaction(() => {
      const { hash, header, root } = {
        hash: block.hash(),
        header: block.header.serialize(),
        root: block.header.stateRoot,
      }
      store.addBlock({ number: 0, hash, header, timestamp: record.timestamp, root }, [], [])
      store.setMeta('chainId', record.chainId)
      store.setMeta('offset', offset)
      store.setMeta('head', 0)
    })
  }
  for await (const { payload, next } of journal.recover(applied)) {
    if (chainId === undefined) {
      await found(payload, next)
      continue
    }
    vm ??= await begin()
    const record = decodeBlock(payload)
    options.onReplay?.(record.number)
    head = await applyRecord({ vm, db, store, prune }, head!, record, next)
  }
  if (chainId === undefined) {
    const record = { chainId: options.chainId ?? 26426, timestamp: Math.floor(clock() / 1000) }
    const payload = encodeGenesis(record)
    await journal.append(payload)
    await found(payload, journal.end)
  }
  if (options.chainId !== undefined && options.chainId !== chainId) {
    throw new ZosError(`Open chain "${options.dir}": its id is ${chainId}, not ${options.chainId}`, {
      code: 'wrong-chain',
      kind: 'user',
    })
  }
  vm ??= await begin()
  return make({
    common,
    store,
    journal,
    vm,
    db,
    prune,
    genesis: genesis!,
    head: head!,
    blockTime: options.blockTime ?? 0,
    clock,
  })
}
