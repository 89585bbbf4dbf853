import { type AbiEvent, type DecodeEventLogReturnType, decodeEventLog, getAbiItem, toEventSelector } from '#npm'
import { ledger } from '../artifact.ts'
import type { Grid } from './grid.ts'

type Hex = `0x${string}`

export type LedgerEvent = { name: string; args: Record<string, unknown>; block: bigint; index: number; tx: Hex }

type RawLog = {
  address: Hex
  data: Hex
  topics: [Hex, ...Hex[]]
  blockNumber: Hex
  logIndex: Hex
  transactionHash: Hex
}

const selectorOf = (name: string) => toEventSelector(getAbiItem({ abi: ledger.abi, name }) as AbiEvent)

/** Public nodes refuse long ranges, mostly above 10,000 or 1,000 blocks: begun with this many, a quarter on refusal. */
const SPAN = 50_000n

/**
 * Events of the contract in blocks FROM to TO, oldest first; TOPICS are the indexed arguments (null: any). They are
 * hints: whoever acts on one verifies signatures and state.
 */
export async function events(
  grid: Grid,
  names: string[],
  topics: (Hex | null)[],
  range: { from?: bigint; to: bigint },
): Promise<LedgerEvent[]> {
  const found: LedgerEvent[] = []
  let at = range.from ?? grid.since
  let span = SPAN
  while (at <= range.to) {
    const end = at + span - 1n < range.to ? at + span - 1n : range.to
    try {
      found.push(...(await ask(grid, names, topics, at, end)))
      at = end + 1n
    } catch (error) {
      if (span === 1n) throw error
      span = span > 4n ? span / 4n : 1n
    }
  }
  return found
}

async function ask(
  grid: Grid,
  names: string[],
  topics: (Hex | null)[],
  from: bigint,
  to: bigint,
): Promise<LedgerEvent[]> {
  const filter = {
    address: grid.contract,
    fromBlock: `0x${from.toString(16)}`,
    toBlock: `0x${to.toString(16)}`,
    topics: [names.map(selectorOf), ...topics],
  }
  const logs = (await grid.engine.request({ method: 'eth_getLogs', params: [filter] })) as RawLog[]
  return logs
    .filter((l) => l.address.toLowerCase() === grid.contract)
    .map((l) => {
      const decoded = decodeEventLog({
        abi: ledger.abi,
        data: l.data,
        topics: l.topics,
      }) as DecodeEventLogReturnType & { args: Record<string, unknown> }
      return {
        name: decoded.eventName as string,
        args: plain(decoded.args) as Record<string, unknown>,
        block: BigInt(l.blockNumber),
        index: Number(l.logIndex),
        tx: l.transactionHash,
      }
    })
}

/** ABI values as the JSON our schemas take: whole numbers as numbers, bytes in lower case. */
export function plain(value: unknown): unknown {
  // what no number holds stays as it is
  if (typeof value === 'bigint') return BigInt(Number(value)) === value ? Number(value) : value
  if (typeof value === 'string') return value.startsWith('0x') ? value.toLowerCase() : value
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]))
  return value
}
