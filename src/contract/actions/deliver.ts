import { codeOf, reasonOf, ZosError } from '#codec'
import { keccak256 } from '#npm'
import { sleep } from '#sys'
import type { Engine } from '../engine/types.ts'
import { checkFunds, type Fees, feesNow, noFunds, raised } from './fees.ts'
import type { Relayer } from './relayer.ts'

type Hex = `0x${string}`

export type Payload = { to?: Hex; data: Hex }

/** Gas used, and what was paid for it in wei. */
export type Receipt = { hash: Hex; block: bigint; gas: bigint; cost: bigint; contract: Hex | null }

/** A transaction as it was last offered. */
type Signed = { tx: Payload; nonce: number; gas: bigint; fees: Fees; raw: Hex }

/** Milliseconds until a transaction is given up that gets into no block, whatever is offered for it. */
const GIVE_UP = 120_000
/** Milliseconds until a chain is given up that does not say whether it has what was offered. */
const SILENT = 30_000
/** Between two looks for a receipt: first, and later. */
const LOOK = 100
const LOOK_LATER = 500
const SOON = 2_000
/** Between estimate and block others may have made the same call dearer: a fifth more may be used. */
const MARGIN = 5n
/** What nothing at all costs: EIP-2028's 21,000. */
const EMPTY_GAS = 21_000n
/** Raises in a row when a pool says that it holds a dearer one: 9/8 each, 16 of them 6.6 times. */
const RAISES = 16

const ask = async (engine: Engine, method: string, params: unknown[]): Promise<Hex> =>
  (await engine.request({ method, params })) as Hex

const countOf = async (engine: Engine, { account }: Relayer, tag: 'latest' | 'pending'): Promise<number> =>
  Number(await ask(engine, 'eth_getTransactionCount', [account.address, tag]))

/** What clients say of a transaction, each in its own words: geth, Besu, anvil/reth, Nethermind, Erigon. */
const SAID = {
  /** Its nonce is in a block already. */
  late: /nonce.{0,12}too low|nonce below|OldNonce/i,
  /** The pool has this very one. */
  known: /already (?:known|imported|in the pool)|known transaction|AlreadyKnown/i,
  /** The pool has another of this nonce that offers as much. */
  dearer:
    /underpriced|replacement.{0,40}(?:low|fee)|fee.{0,20}too low.{0,20}replac|already a transaction with the same nonce|ReplacementNotAllowed/i,
  /** The account is too poor. */
  poor: /insufficient funds|upfront cost exceeds|InsufficientFunds|not enough balance/i,
}
const says = (error: unknown, what: keyof typeof SAID): boolean => SAID[what].test(reasonOf(error))

const overtaken = (nonce: number) =>
  new ZosError(`Send transaction: another transaction of the same account took its number ${nonce}`, {
    code: 'overtaken',
    kind: 'node',
  })
export const wasOvertaken = (error: unknown): boolean => codeOf(error) === 'overtaken'

/** Signs what would pass now. Its nonce counts as on its way until `deliver` is done with it. */
export async function sign(engine: Engine, relayer: Relayer, tx: Payload): Promise<Signed> {
  const { account, underWay } = relayer
  const [estimate, fees, pending] = await Promise.all([
    ask(engine, 'eth_estimateGas', [{ from: account.address, ...tx }]),
    feesNow(engine),
    countOf(engine, relayer, 'pending'),
  ])
  const gas = BigInt(estimate) + BigInt(estimate) / MARGIN
  await checkFunds(engine, account.address, gas, fees)
  // the RPC may leave out what waits, and lag behind blocks: our own count matters too. Gaps are filled by `sweep`
  let nonce = Math.max(pending, relayer.used)
  while (underWay.has(nonce)) nonce++
  underWay.add(nonce)
  try {
    return await sealed(engine, relayer, { tx, nonce, gas, fees })
  } catch (error) {
    underWay.delete(nonce)
    throw error
  }
}

async function sealed(engine: Engine, { account }: Relayer, one: Omit<Signed, 'raw'>): Promise<Signed> {
  const { tx, nonce, gas, fees } = one
  const { chainId } = engine
  return { ...one, raw: await account.signTransaction({ type: 'eip1559', chainId, nonce, gas, ...fees, ...tx }) }
}

/** Brings it into a block, offering more and more for it. */
export async function deliver(engine: Engine, relayer: Relayer, first: Signed): Promise<Receipt> {
  const { tx, nonce } = first
  try {
    const receipt = await included(engine, relayer, first)
    relayer.used = Math.max(relayer.used, nonce + 1)
    const { transactionHash: hash, status, blockNumber } = receipt
    // what was estimated as possible may be overtaken by another: ask again for the reason
    if (BigInt(status) === 0n) {
      await ask(engine, 'eth_call', [{ from: relayer.account.address, ...tx }, blockNumber])
      throw new ZosError('Send transaction: it was reverted', { code: 'reverted', details: { hash } })
    }
    const gas = BigInt(receipt.gasUsed)
    const cost = gas * BigInt(receipt.effectiveGasPrice ?? 0)
    return { hash, block: BigInt(blockNumber), gas, cost, contract: receipt.contractAddress ?? null }
  } finally {
    relayer.underWay.delete(nonce)
  }
}

type RawReceipt = {
  transactionHash: Hex
  status: Hex
  blockNumber: Hex
  gasUsed: Hex
  effectiveGasPrice?: Hex
  contractAddress?: Hex | null
}

async function included(engine: Engine, relayer: Relayer, first: Signed): Promise<RawReceipt> {
  const hashes: Hex[] = []
  const begun = performance.now()
  let last = await offer(engine, relayer, first, hashes)
  let [offered, heard] = [begun, begun]
  let gone = 0
  for (;;) {
    const receipt = await receiptOf(engine, hashes).catch((error: unknown) => {
      // what was offered may be in a block all the same: ask on
      if (performance.now() - heard > SILENT) throw error
      return 'not heard' as const
    })
    const now = performance.now()
    if (receipt !== 'not heard') {
      if (receipt) return receipt
      heard = now
      if (now - begun > GIVE_UP) throw notThere(hashes.at(-1)!)
      const due = now - offered > relayer.patience
      const count = due ? await countOf(engine, relayer, 'latest').catch(() => undefined) : undefined
      if (count !== undefined) {
        // the count may be known before the receipt is
        if (count > last.nonce && ++gone > 3) throw overtaken(last.nonce)
        if (count === last.nonce) last = await more(engine, relayer, last, hashes)
        if (count < last.nonce) await sweep(engine, relayer, count, last.nonce).catch(() => {})
        offered = performance.now() - (count > last.nonce ? Math.max(0, relayer.patience - SOON) : 0)
      }
    }
    await sleep(now - begun < SOON ? LOOK : LOOK_LATER)
  }
}

const notThere = (hash: Hex) =>
  new ZosError(`Send transaction: ${hash} is in no block after ${GIVE_UP / 1000} s, whatever was offered for it`, {
    code: 'not-in-a-block',
    kind: 'node',
    details: { hash },
  })

async function receiptOf(engine: Engine, hashes: Hex[]): Promise<RawReceipt | undefined> {
  for (const hash of hashes.toReversed()) {
    const found = await engine
      .request({ method: 'eth_getTransactionReceipt', params: [hash] })
      .catch((error: unknown) => {
        // one RPC node has the block already, another not yet
        if (codeOf(error) === 'rpc-disagree') return null
        throw error
      })
    if (found) return found as RawReceipt
  }
  return undefined
}

/** Offers ONE, for more if another of its nonce is dearer; notes in HASHES by what it may be found. */
async function offer(engine: Engine, relayer: Relayer, one: Signed, hashes: Hex[]): Promise<Signed> {
  let now = one
  for (let n = 0; ; n++) {
    try {
      await ask(engine, 'eth_sendRawTransaction', [now.raw])
    } catch (error) {
      if (says(error, 'late')) throw overtaken(now.nonce)
      if (says(error, 'poor')) throw noFunds(relayer.account.address, `has too little: ${reasonOf(error)}`)
      if (says(error, 'dearer') && !says(error, 'known') && n < RAISES) {
        now = await sealed(engine, relayer, { ...now, fees: raised(now.fees, now.fees) })
        continue
      }
      // whoever did not answer may have taken it
      if (codeOf(error) !== 'rpc-unreachable' && !says(error, 'known')) throw error
    }
    hashes.push(keccak256(now.raw))
    return now
  }
}

/** Its turn has come and it is in no block: the base fee went up, or others offer more, or every pool has forgotten it. */
async function more(engine: Engine, relayer: Relayer, last: Signed, hashes: Hex[]): Promise<Signed> {
  try {
    const now = await feesNow(engine)
    // a free chain takes no bids
    const fees = now.maxFeePerGas === 0n ? last.fees : raised(last.fees, now)
    return await offer(engine, relayer, await sealed(engine, relayer, { ...last, fees }), hashes)
  } catch {
    // for want of funds, or the pool has it: what was offered before still stands
    return last
  }
}

/**
 * Nonces from COUNT to below NONCE stand in the way, and none of them is on its way here: of a process that was killed, or never
 * taken. Each is used up by a transaction that does nothing.
 */
async function sweep(engine: Engine, relayer: Relayer, count: number, nonce: number): Promise<void> {
  const fees = await feesNow(engine)
  const tx = { to: relayer.account.address, data: '0x' as const }
  for (let n = count; n < nonce; n++) {
    if (relayer.underWay.has(n)) continue
    relayer.underWay.add(n)
    // its failure is seen by whoever waits behind it
    void deliver(engine, relayer, await sealed(engine, relayer, { tx, nonce: n, gas: EMPTY_GAS, fees })).catch(() => {})
  }
}
