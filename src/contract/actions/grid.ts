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

/** A view of the contract at the head. */
export function view(grid: Grid, functionName: string, args: unknown[]): Promise<unknown> {
  return grid.client.readContract({ address: grid.contract, abi: ledger.abi, functionName, args })
}
