import { codeOf } from '#codec'
import { encodeFunctionData, keccak256, serializeTransaction } from '#npm'
import { ledger } from '../artifact.ts'
import { recoverSigner } from '../typed/recover.ts'
import { type Grid, view } from './grid.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'
import { leftBy, placedOn } from './slots.ts'

type Hex = `0x${string}`

/** A slot that a node is booked for, by its key in the contract. UNTIL: when its farmer may take it back, 0 before notice. */
export type Booked = { id: Hex; group: Hex; name: string; key: number; until: number }

const KEYS = Array.from({ length: 256 }, (_, key) => key)

/** All that is booked on NODE now, what migrations left behind included. */
export async function bookedOn(grid: Grid, node: number): Promise<Booked[]> {
  const ever = await placedOn(grid, node, new Set())
  const all = await Promise.all(
    ever.map(async (d) => {
      const placed = (await view(grid, 'placed', [d.id])) as bigint
      const keys = KEYS.filter((key) => (placed >> BigInt(key)) & 1n).flatMap((key) => [key, leftBy(key)])
      const rows = await Promise.all(keys.map((key) => view(grid, 'bookings', [d.id, key])))
      return (rows as [bigint, number, number][]).flatMap(([, at, until], n) =>
        at === node ? [{ ...d, key: keys[n]!, until }] : [],
      )
    }),
  )
  return all.flat()
}

/** What came of a farmer's wish to have a slot back: it waits until UNTIL (Unix seconds), or is had. */
export type Reclaimed = { slot: Booked; until: number; back: boolean }

/**
 * A step toward having SLOT back: notice where none was given, else the slot itself when its time has come by the chain's own
 * clock. By the account of the farm's owner alone.
 */
export async function reclaimSlot(grid: Grid, owner: Relayer, slot: Booked): Promise<Reclaimed> {
  const { id, key } = slot
  try {
    await write(grid, owner, 'reclaim', [id, key])
    return { slot, until: slot.until, back: true }
  } catch (error) {
    if (codeOf(error) !== 'contract-TooEarly') throw error
  }
  try {
    await write(grid, owner, 'notice', [id, key])
  } catch (error) {
    // given before, and as early as a new one
    if (codeOf(error) !== 'contract-Noticed') throw error
  }
  const [, , until] = (await view(grid, 'bookings', [id, key])) as [bigint, number, number]
  return { slot, until, back: false }
}

export const NODE_STATES = ['up', 'drain', 'down'] as const

/** By the account of the farm's owner alone. A node that is not up gets no new slots. */
export async function setNodeState(grid: Grid, owner: Relayer, node: number, state: (typeof NODE_STATES)[number]) {
  await write(grid, owner, 'setNodeState', [node, NODE_STATES.indexOf(state) + 1])
}

/** What farmers did to a deployment's slots, oldest first: the chain's word, not the group's. At: the block's, Unix seconds. */
export type FarmersWord = { key: number; node: number; at: number } & ({ until: number } | { back: true })

export async function readFarmersWords(grid: Grid, id: Hex): Promise<FarmersWord[]> {
  const { number } = await grid.engine.finalized()
  const found = await events(grid, ['Placed', 'Noticed', 'Released'], [id], { to: BigInt(number) })
  const said: FarmersWord[] = []
  const noticed = new Set<number>()
  for (const e of found) {
    const { key, node, until } = e.args as { key: number; node: number; until: number }
    const at = async () => {
      const params = [`0x${e.block.toString(16)}`, false]
      const block = (await grid.engine.request({ method: 'eth_getBlockByNumber', params })) as { timestamp: Hex }
      return Number(block.timestamp)
    }
    if (e.name === 'Noticed') {
      noticed.add(key)
      said.push({ key, node, at: await at(), until })
    } else if (e.name === 'Released' && noticed.delete(key) && (await isReclaim(grid, e.tx, id, key)))
      said.push({ key, node, at: await at(), back: true })
  }
  return said
}

type RawTransaction = Record<'nonce' | 'gas' | 'maxFeePerGas' | 'maxPriorityFeePerGas' | 'v' | 'r' | 's', Hex> & {
  input: Hex
  accessList?: { address: Hex; storageKeys: Hex[] }[]
}

const transactionOf = async (grid: Grid, hash: Hex) =>
  (await grid.engine.request({ method: 'eth_getTransactionByHash', params: [hash] })) as RawTransaction | null

const callOf = (id: Hex, key: number): Hex =>
  encodeFunctionData({ abi: ledger.abi, functionName: 'reclaim', args: [id, key] })

const isReclaim = async (grid: Grid, hash: Hex, id: Hex, key: number): Promise<boolean> =>
  (await transactionOf(grid, hash))?.input.toLowerCase() === callOf(id, key)

/**
 * Who signed for it that the slot KEY of the deployment ID was taken back from NODE last; undefined when no such signature is
 * found. Recovered from the transaction, made anew here for this chain, contract and slot: an RPC cannot invent it.
 */
export async function takenBackBy(grid: Grid, id: Hex, node: number, key: number): Promise<Hex | undefined> {
  const { number } = await grid.engine.finalized()
  const topics: [Hex, Hex] = [id, `0x${node.toString(16).padStart(64, '0')}`]
  const found = await events(grid, ['Released'], topics, { to: BigInt(number) })
  const last = found.findLast(({ args }) => args.key === key)
  const tx = last && (await transactionOf(grid, last.tx))
  if (!tx) return undefined
  try {
    const unsigned = serializeTransaction({
      type: 'eip1559',
      chainId: grid.domain.chainId,
      to: grid.contract,
      data: callOf(id, key),
      value: 0n,
      nonce: Number(tx.nonce),
      gas: BigInt(tx.gas),
      accessList: tx.accessList ?? [],
      maxFeePerGas: BigInt(tx.maxFeePerGas),
      maxPriorityFeePerGas: BigInt(tx.maxPriorityFeePerGas),
    })
    const word = (h: Hex) => BigInt(h).toString(16).padStart(64, '0')
    const v = (27 + Number(tx.v)).toString(16)
    return recoverSigner(keccak256(unsigned), `0x${word(tx.r)}${word(tx.s)}${v}`)
  } catch {
    // a transaction of another kind, or none at all
    return undefined
  }
}
