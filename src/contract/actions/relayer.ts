import {
  encodeDeployData,
  encodeFunctionData,
  generatePrivateKey,
  type PrivateKeyAccount,
  privateKeyToAccount,
} from '#npm'
import { ledger } from '../artifact.ts'
import type { Engine } from '../engine/types.ts'
import { deliver, type Payload, type Receipt, sign, wasOvertaken } from './deliver.ts'
import type { Grid } from './grid.ts'
import { explain } from './refusals.ts'

type Hex = `0x${string}`

/**
 * Who carries signed messages to the chain and pays for the gas. It has no say: everything that counts is signed by
 * members or nodes. The embedded chain is free, so a throw-away key does; elsewhere give a funded one.
 */
export type Relayer = {
  readonly account: PrivateKeyAccount
  queue: Promise<unknown>
  /** Whether a transaction is made while those before it wait for their block. */
  many: boolean
  /** Milliseconds a transaction may wait for its block before more is offered for it. */
  patience: number
  /** Nonces of transactions on their way; all below USED are in blocks. */
  underWay: Set<number>
  used: number
}

/** Ethereum's blocks come every 12 s. */
const PATIENCE = 20_000

/** MANY: for transactions that do not rest on each other; else each waits for the block of the one before. */
export const openRelayer = (
  secret: Hex = generatePrivateKey(),
  options: { many?: boolean; patience?: number } = {},
): Relayer => {
  let account: PrivateKeyAccount | undefined
  return {
    // made by who sends: it takes a fifth of what a command costs that only reads
    get account() {
      account ??= privateKeyToAccount(secret)
      return account
    },
    queue: Promise.resolve(),
    many: options.many ?? false,
    patience: options.patience ?? PATIENCE,
    underWay: new Set(),
    used: 0,
  }
}

/** How often a transaction is made anew whose number another of the same account has taken. */
const AGAIN = 3

/**
 * Sends one transaction and waits for its block. Signed one at a time per relayer, so that nonces stay in order; more is offered
 * for one that waits too long, and what an earlier process of the same account left stuck before it is swept away.
 * Throws `contract-…` for what the contract refuses, `no-funds`, `not-in-a-block`, `chain-failed`.
 */
export async function send(engine: Engine, relayer: Relayer, tx: Payload): Promise<Receipt> {
  for (let attempt = 1; ; attempt++) {
    const signed = relayer.queue.then(() => sign(engine, relayer, tx))
    const done = signed.then((one) => deliver(engine, relayer, one))
    relayer.queue = (relayer.many ? signed : done).catch(() => {})
    try {
      return await done
    } catch (error) {
      if (!wasOvertaken(error) || attempt === AGAIN) throw explain(error)
    }
  }
}

/** Calls a function of the contract by transaction. */
export function write(grid: Grid, relayer: Relayer, functionName: string, args: unknown[]): Promise<Receipt> {
  return send(grid.engine, relayer, {
    to: grid.contract,
    data: encodeFunctionData({ abi: ledger.abi, functionName, args }),
  })
}

/** Puts the contract on the engine's chain. Whoever does it gets no rights by it. */
export async function deployContracts(
  engine: Engine,
  relayer: Relayer,
): Promise<{ contract: Hex; since: bigint; gas: bigint; cost: bigint }> {
  const data = encodeDeployData({ abi: ledger.abi, bytecode: ledger.bytecode })
  const { contract, block, gas, cost } = await send(engine, relayer, { data })
  return { contract: contract!.toLowerCase() as Hex, since: block, gas, cost }
}
