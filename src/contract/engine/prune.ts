import { RLP } from '@ethereumjs/rlp'
import type { NestedUint8Array } from '@ethereumjs/util'
import type { Store } from './store.ts'

/** States of this many last blocks stay readable and provable; older ones may be swept. */
export const KEEP_STATES = 128
/** No sweep before this many nodes were written, so that a small chain never pays for one. */
const FLOOR = 20_000
/** Nodes marked, or swept, per block: a pause of some ten milliseconds. */
const SLICE = 2000

const EMPTY_ROOT = '56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'
const EMPTY_CODE = 'c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'

type Todo = { key: Buffer; accounts: boolean }

/**
 * Incremental mark and sweep over trie nodes: what was born before the mark began and no kept root reaches is deleted.
 * Returns the step to be run after each block, told how many nodes that block wrote. A restart begins a cycle anew.
 */
export function pruner(store: Store, floor = FLOOR): (head: number, written: number) => void {
  const look = store.db.prepare('SELECT value, mark FROM nodes WHERE key = ?')
  const mark = store.db.prepare('UPDATE nodes SET mark = ? WHERE key = ?')
  const edge = store.db.prepare('SELECT key FROM nodes WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?')
  const sweep = store.db.prepare('DELETE FROM nodes WHERE key > ? AND key <= ? AND mark < ? AND born <= ?')
  const count = store.db.prepare('SELECT count(*) AS n FROM nodes')
  const roots = store.db.prepare('SELECT DISTINCT root FROM blocks WHERE number >= ?')
  const size = () => Number(count.get()!.n)

  let limit = Math.max(floor, size())
  let grown = 0
  let cycle = store.meta('cycle') ?? 0
  let start = 0
  let todo: Todo[] | undefined
  let swept: Uint8Array | undefined

  const visit = ({ key, accounts }: Todo): void => {
    const row = look.get(key)
    if (!row || row.mark === cycle) return
    mark.run(cycle, key)
    if (key.length === 32) for (const child of childrenOf(row.value as Uint8Array, accounts)) todo!.push(child)
  }
  return (head, written) => {
    grown += written
    if (!todo && !swept && grown > limit) {
      ;[grown, cycle, start] = [0, cycle + 1, head]
      todo = roots.all(head - KEEP_STATES).map((r) => ({ key: Buffer.from(r.root as Uint8Array), accounts: true }))
      store.setMeta('cycle', cycle)
    }
    if (todo) {
      store.transaction(() => {
        for (let i = 0; i < SLICE && todo!.length > 0; i++) visit(todo!.pop()!)
      })
      if (todo.length === 0) [todo, swept] = [undefined, Buffer.alloc(0)]
    } else if (swept) {
      const to = (edge.get(swept, SLICE)?.key as Uint8Array | undefined) ?? Buffer.alloc(40, 0xff)
      sweep.run(swept, to, cycle, start)
      swept = to.length === 40 ? undefined : to
      if (!swept) limit = Math.max(floor, size())
    }
  }
}

/** What a trie node refers to: child nodes by hash (short ones are inline), and an account's storage and code. */
function* childrenOf(encoded: Uint8Array, accounts: boolean): Generator<Todo> {
  yield* childrenOfRaw(RLP.decode(Uint8Array.from(encoded)) as NestedUint8Array, accounts)
}

function* childrenOfRaw(node: NestedUint8Array, accounts: boolean): Generator<Todo> {
  const refer = function* (ref: Uint8Array | NestedUint8Array): Generator<Todo> {
    if (Array.isArray(ref)) yield* childrenOfRaw(ref, accounts)
    else if (ref.length === 32) yield { key: Buffer.from(ref as Uint8Array), accounts }
  }
  if (node.length === 17) {
    for (const ref of node.slice(0, 16)) yield* refer(ref!)
  } else if (((node[0] as Uint8Array)[0]! & 0x20) === 0) {
    yield* refer(node[1]!) // an extension; with the flag it is a leaf
  } else if (accounts) {
    const [, , root, code] = RLP.decode(node[1] as Uint8Array) as Uint8Array[]
    const [storage, codeHash] = [Buffer.from(root!), Buffer.from(code!)]
    if (storage.toString('hex') !== EMPTY_ROOT) yield { key: storage, accounts: false }
    if (codeHash.toString('hex') !== EMPTY_CODE) yield { key: Buffer.concat([Buffer.from('c'), codeHash]), accounts }
  }
}
