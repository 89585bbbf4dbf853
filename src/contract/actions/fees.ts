import { ZosError } from '#codec'
import type { Engine } from '../engine/types.ts'

type Hex = `0x${string}`

/** What a transaction offers for each unit of gas, in wei (EIP-1559). */
export type Fees = { maxFeePerGas: bigint; maxPriorityFeePerGas: bigint }

/** The least by which a client's pool takes a transaction in the place of another: geth and Besu say 10 %. */
const RAISE = { by: 9n, of: 8n }

const numberOf = async (engine: Engine, method: string, params: unknown[] = []): Promise<bigint> =>
  BigInt((await engine.request({ method, params })) as Hex)

/**
 * What gets a transaction into the next block, and into those after it while the base fee does not double. Nothing where the chain
 * is free.
 */
export async function feesNow(engine: Engine): Promise<Fees> {
  const price = await numberOf(engine, 'eth_gasPrice')
  if (price === 0n) return { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n }
  const head = await engine.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })
  const base = BigInt((head as { baseFeePerGas?: Hex } | null)?.baseFeePerGas ?? 0)
  // where the method is missing, what the price holds beyond the base fee is the tip
  const tip = await numberOf(engine, 'eth_maxPriorityFeePerGas').catch(() => (price > base ? price - base : 0n))
  return { maxFeePerGas: 2n * base + tip, maxPriorityFeePerGas: tip }
}

/** FEES, raised so that a pool takes them in the place of those BEFORE. */
export function raised(before: Fees, fees: Fees): Fees {
  const up = (was: bigint, now: bigint): bigint => {
    const least = (was * RAISE.by) / RAISE.of + 1n
    return now > least ? now : least
  }
  const maxPriorityFeePerGas = up(before.maxPriorityFeePerGas, fees.maxPriorityFeePerGas)
  const maxFeePerGas = up(before.maxFeePerGas, fees.maxFeePerGas)
  return {
    maxFeePerGas: maxFeePerGas > maxPriorityFeePerGas ? maxFeePerGas : maxPriorityFeePerGas,
    maxPriorityFeePerGas,
  }
}

/** Wei in the chain's coin, as a person reads it: up to 9 digits behind the point, never rounded to nothing. */
export function coins(wei: bigint): string {
  const gwei = (wei + 10n ** 9n - 1n) / 10n ** 9n
  const [whole, rest] = [gwei / 10n ** 9n, (gwei % 10n ** 9n).toString().padStart(9, '0').replace(/0+$/, '')]
  return rest === '' ? `${whole}` : `${whole}.${rest}`
}

/** Throws `no-funds` unless ADDRESS can pay for GAS at FEES. */
export async function checkFunds(engine: Engine, address: Hex, gas: bigint, fees: Fees): Promise<void> {
  const needs = gas * fees.maxFeePerGas
  if (needs === 0n) return
  const has = await numberOf(engine, 'eth_getBalance', [address, 'latest'])
  if (has >= needs) return
  throw noFunds(address, `has ${coins(has)} of the ${coins(needs)} that this may cost`, {
    has: `${has}`,
    needs: `${needs}`,
  })
}

export const noFunds = (address: Hex, how: string, details: Record<string, string> = {}): ZosError =>
  new ZosError(
    `Send transaction: ${address}, which pays for the gas, ${how}; fund it, or name a funded key in $ZOS_RELAYER_KEY_FILE`,
    { code: 'no-funds', kind: 'node', details: { address, ...details } },
  )
