import { type Common, createCustomCommon, Hardfork, Mainnet } from '@ethereumjs/common'
import { MerklePatriciaTrie } from '@ethereumjs/mpt'
import { Caches, MerkleStateManager } from '@ethereumjs/statemanager'
import { type BatchDBOp, type DB, ValueEncoding } from '@ethereumjs/util'
import type { Store } from './store.ts'

type Value = string | Uint8Array

/** The store's nodes as the trie library's key-value interface; writes wait in `dirty` for the block's transaction. */
export class NodeDb implements DB<string, Value> {
  readonly dirty = new Map<string, Uint8Array>()
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  async get(key: string): Promise<Value | undefined> {
    return this.dirty.get(key) ?? this.#store.node(Buffer.from(key, 'hex'))
  }

  async put(key: string, value: Value): Promise<void> {
    this.dirty.set(key, value as Uint8Array)
  }

  /** Nodes are shared between states of different blocks: prune.ts removes them, never the trie. */
  async del(): Promise<void> {}

  async batch(ops: BatchDBOp<string, Value>[]): Promise<void> {
    for (const op of ops) if (op.type === 'put') this.dirty.set(op.key, op.value as Uint8Array)
  }

  shallowCopy(): NodeDb {
    return this
  }

  async open(): Promise<void> {}
}

/**
 * Cancun rules: MCOPY and transient storage, as our contracts are compiled; base fee is set to 0 by the block maker. Plus
 * EIP-7951, the precompile for P-256, which later forks have: a passkey's signature costs 7,000 gas instead of 200,000.
 */
export function commonOf(chainId: number): Common {
  return createCustomCommon({ chainId, name: 'zos' }, Mainnet, { hardfork: Hardfork.Cancun, eips: [7951] })
}

/** State at ROOT, with caches bounded in entries. */
export function stateOver(db: NodeDb, common: Common, root?: Uint8Array): MerkleStateManager {
  const trie = new MerklePatriciaTrie({
    db,
    common,
    useKeyHashing: true,
    valueEncoding: ValueEncoding.Bytes,
    ...(root ? { root } : {}),
  })
  const caches = new Caches({ account: { size: 2000 }, code: { size: 100 }, storage: { size: 20000 } })
  return new MerkleStateManager({ trie, common, caches })
}
