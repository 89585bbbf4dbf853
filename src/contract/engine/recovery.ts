import { rm } from 'node:fs/promises'
import { type Block, createBlock, createBlockHeaderFromRLP } from '@ethereumjs/block'
import type { Common } from '@ethereumjs/common'
import type { TypedTransaction } from '@ethereumjs/tx'
import type { VM } from '@ethereumjs/vm'
import { reasonOf, ZosError } from '#codec'
import { execute, genesisBlock, openVm } from './executor.ts'
import type { Journal } from './journal.ts'
import { pruner } from './prune.ts'
import { type BlockRecord, decodeBlock, decodeGenesis, encodeGenesis } from './record.ts'
import { Store } from './store.ts'
import { commonOf, NodeDb } from './trie.ts'

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

/** What a chain is once its journal is executed. */
export type Parts = {
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

/** Opens the state; one that cannot be read is made anew from the journal, which is the truth. */
export async function openStore(path: string): Promise<Store> {
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

/** Executes RECORD on top of PARENT and stores what it changes; its entry in the journal ends at OFFSET. */
export async function applyRecord(
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

/** Executes what the journal has and the state not yet; MAKE is given the outcome. */
export async function recover<T>(
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
