import { reasonOf, ZosError } from '#codec'
import { encodeAbiParameters, fromRlp, keccak256 } from '#npm'
import { ledger } from '../artifact.ts'
import type { Head } from '../engine/types.ts'
import { deploymentId, ZERO } from '../typed/digest.ts'
import type { Grid } from './grid.ts'

type Hex = `0x${string}`

/** What the state of a final block says, shown by Merkle proofs under its state root. */
export type Proven = {
  at: Head
  stateRoot: Hex
  /** Keccak-256 of the contract's code: to be held against codeHashOf() of a chain that was trusted then. */
  codeHash: Hex
  /** The group's current member set, by digest. */
  set: Hex
  state: 'none' | 'active' | 'cancelled' | 'wiped' | 'expired'
  sequence: number
  version: number
  frozenUntil: number
  head: Hex
  specRoot: Hex
  /** By the key of each slot that was asked for the node that is booked for it; 0: none. */
  bookings: ReadonlyMap<number, number>
}

/** Of the contract's code as the chain has it now: to be kept by whoever trusts the chain now and may not later. */
export async function codeHashOf(grid: Grid): Promise<Hex> {
  const code = (await grid.engine.request({ method: 'eth_getCode', params: [grid.contract, 'latest'] })) as Hex
  if (code === '0x') throw bad('the code', 'the contract is not there')
  return keccak256(code)
}

type Answer = { accountProof: Hex[]; storageProof: { key: Hex; value: Hex; proof: Hex[] }[] }

const slotOf = (name: string, key: Hex): Hex =>
  keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [key, BigInt(ledger.storage[name]!)]))
const plus = (slot: Hex, n: bigint): Hex => `0x${(BigInt(slot) + n).toString(16).padStart(64, '0')}`

/** A booking's word in the contract's storage, as in Slots.sol. */
const bookingOf = (id: Hex, key: number): Hex =>
  keccak256(encodeAbiParameters([{ type: 'uint256' }, { type: 'bytes32' }], [BigInt(key), slotOf('bookings', id)]))
const nodeIn = (booking: Hex): number => Number((BigInt(booking) >> 200n) & 0xffffffn)

/**
 * A deployment, its group's set and the bookings of its slots KEYS as one final block has them. Believes of the RPC only that
 * block's state root, which an engine of several RPCs agrees on: a single false word in the answer is refused. Absence is proven as well.
 */
export async function proveDeployment(
  grid: Grid,
  group: Hex,
  name: string,
  keys: readonly number[] = [],
): Promise<Proven> {
  const what = `the state of "${name}"`
  const id = deploymentId(group, name)
  const base = slotOf('deployments', id)
  const booked = keys.map((key) => bookingOf(id, key))
  const slots = [slotOf('groups', group), base, plus(base, 1n), plus(base, 2n), ...booked]
  const root = await finalRoot(grid, what)
  const { codeHash, words } = await proveAccount(grid, what, root, grid.contract, slots)
  if (codeHash === undefined) throw bad(what, 'the contract is not there')
  const bookings = new Map(keys.map((key, n) => [key, nodeIn(words[4 + n]!)]))
  return { ...root, codeHash, ...decode(words), bookings }
}

/** A group's current set by digest, as PROVEN has it, for a group without a deployment. */
export async function proveSet(grid: Grid, group: Hex): Promise<{ root: Root; set: Hex }> {
  const what = `the members of group ${group.slice(0, 10)}`
  const root = await finalRoot(grid, what)
  const { words } = await proveAccount(grid, what, root, grid.contract, [slotOf('groups', group)])
  return { root, set: words[0]! }
}

/** Which of ADDRESSES are contracts under that root. */
export async function proveContracts(grid: Grid, root: Root, addresses: Hex[]): Promise<Set<Hex>> {
  const found = new Set<Hex>()
  for (const address of addresses) {
    const { codeHash } = await proveAccount(grid, `the account ${address}`, root, address, [])
    if (codeHash !== undefined && codeHash !== EMPTY_CODE) found.add(address)
  }
  return found
}

/** A final block and the root of its state. */
export type Root = Pick<Proven, 'at' | 'stateRoot'>

async function finalRoot(grid: Grid, what: string): Promise<Root> {
  const at = await grid.engine.finalized()
  const params = [`0x${at.number.toString(16)}`, false]
  const block = (await grid.engine.request({ method: 'eth_getBlockByNumber', params })) as {
    hash: Hex
    stateRoot: Hex
  } | null
  if (block?.hash !== at.hash) throw bad(what, 'the final block is not there')
  return { at, stateRoot: block.stateRoot }
}

/** An account's code hash (undefined: there is no account) and words of its storage. */
async function proveAccount(
  grid: Grid,
  what: string,
  { at, stateRoot }: Root,
  address: Hex,
  slots: Hex[],
): Promise<{ codeHash: Hex | undefined; words: Hex[] }> {
  const params = [address, slots, `0x${at.number.toString(16)}`]
  const answer = (await grid.engine.request({ method: 'eth_getProof', params })) as Answer
  const account = await proven(what, stateRoot, keccak256(address), answer.accountProof)
  if (account === null) return { codeHash: undefined, words: slots.map(() => ZERO) }
  const [, , storageRoot, codeHash] = fromRlp(account, 'hex') as Hex[]
  const words = await Promise.all(slots.map((slot, n) => word(what, storageRoot!, slot, answer.storageProof[n])))
  return { codeHash: codeHash!, words }
}

/** The struct's packed first word, lowest field first, as in Ledger.sol. */
function decode([set, packed, head, specRoot]: Hex[]): Omit<Proven, 'at' | 'stateRoot' | 'codeHash' | 'bookings'> {
  let rest = BigInt(packed!)
  const take = (bits: bigint) => {
    const value = Number(rest & ((1n << bits) - 1n))
    rest >>= bits
    return value
  }
  const [sequence, version, , frozenUntil, state] = [take(32n), take(32n), take(40n), take(40n), take(8n)] as const
  const states = ['none', 'active', 'cancelled', 'wiped', 'expired'] as const
  return { set: set!, sequence, version, frozenUntil, state: states[state]!, head: head!, specRoot: specRoot! }
}

async function word(
  what: string,
  root: Hex,
  slot: Hex,
  entry: Answer['storageProof'][number] | undefined,
): Promise<Hex> {
  if (!entry) throw bad(what, 'a slot is missing')
  const value = await proven(what, root, keccak256(slot), entry.proof)
  if (value === null) return ZERO
  return `0x${(fromRlp(value, 'hex') as Hex).slice(2).padStart(64, '0')}`
}

/** The value at the hashed KEY under ROOT, or null where the proof shows that there is none. */
async function proven(what: string, root: Hex, key: Hex, proof: Hex[]): Promise<Hex | null> {
  // an empty trie has no nodes to show
  if (root === EMPTY_ROOT && proof.length === 0) return null
  // only whoever checks proofs loads the trie library
  const { verifyMerkleProof } = await import('@ethereumjs/mpt')
  const bytes = (h: Hex) => Buffer.from(h.slice(2), 'hex')
  try {
    const value = await verifyMerkleProof(bytes(key), proof.map(bytes), { root: bytes(root) })
    return value === null ? null : `0x${Buffer.from(value).toString('hex')}`
  } catch (cause) {
    throw bad(what, `a proof does not lead to the block's state root: ${reasonOf(cause).slice(0, 100)}`, cause)
  }
}

const EMPTY_ROOT = '0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'

const EMPTY_CODE = '0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'

const bad = (what: string, reason: string, cause?: unknown) =>
  new ZosError(`Prove ${what}: ${reason}`, {
    code: 'bad-proof',
    kind: 'node',
    ...(cause === undefined ? {} : { cause }),
  })
