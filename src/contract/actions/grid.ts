import { createPublicClient, custom, type PublicClient } from '#npm'
import { ledger } from '../artifact.ts'
import type { Engine } from '../engine/types.ts'
import type { Domain } from '../typed/digest.ts'

type Hex = `0x${string}`

/** One contract on one chain: the first parameter of every action. */
export type Grid = {
  engine: Engine
  client: PublicClient
  contract: Hex
  domain: Domain
  /** The first block worth asking for events: the one the contract was made in. */
  since: bigint
}

/** Names the contract at ADDRESS on the engine's chain. */
export function openGrid(engine: Engine, address: Hex, options: { since?: bigint } = {}): Grid {
  const contract = address.toLowerCase() as Hex
  return {
    engine,
    client: createPublicClient({ transport: custom(engine, { retryCount: 0 }), pollingInterval: 100 }),
    contract,
    domain: { chainId: engine.chainId, contract },
    since: options.since ?? 0n,
  }
}

/** A view of the contract at the head, or in BLOCK. */
export function view(grid: Grid, functionName: string, args: unknown[], block?: bigint): Promise<unknown> {
  const at = block === undefined ? {} : { blockNumber: block }
  return grid.client.readContract({ address: grid.contract, abi: ledger.abi, functionName, args, ...at })
}

/**
 * What is to be said beside "it is not there", for only final blocks are looked at: how much of the chain is not final yet. '' where
 * every block is final at once.
 */
export async function notFinalYet({ engine }: Grid): Promise<string> {
  const params = ['latest', false]
  const [final, head] = await Promise.all([
    engine.finalized(),
    engine.request({ method: 'eth_getBlockByNumber', params }) as Promise<{ number: Hex; timestamp: Hex }>,
  ])
  if (Number(head.number) <= final.number) return ''
  return `; of this chain the last ${Number(head.timestamp) - final.timestamp} s are not final yet: what is younger is there later`
}
