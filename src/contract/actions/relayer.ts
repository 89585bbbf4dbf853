import { reasonOf, ZosError } from '#codec'
import {
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  custom,
  decodeErrorResult,
  encodeDeployData,
  encodeFunctionData,
  generatePrivateKey,
  type PrivateKeyAccount,
  privateKeyToAccount,
} from '#npm'
import { ledger } from '../artifact.ts'
import type { Engine } from '../engine/types.ts'
import type { Grid } from './grid.ts'

type Hex = `0x${string}`

/**
 * Who carries signed messages to the chain and pays for the gas. It has no say: everything that counts is signed by
 * members or nodes. The embedded chain is free, so a throw-away key does; elsewhere give a funded one.
 */
export type Relayer = {
  account: PrivateKeyAccount
  queue: Promise<unknown>
  /** Whether a transaction is made while those before it wait for their block. */
  many: boolean
  /** Transactions on their way, and the nonce behind the last of them. */
  underWay: number
  next: number
}

/** MANY: for transactions that do not rest on each other; else each waits for the block of the one before. */
export const openRelayer = (secret: Hex = generatePrivateKey(), options: { many?: boolean } = {}): Relayer => ({
  account: privateKeyToAccount(secret),
  queue: Promise.resolve(),
  many: options.many ?? false,
  underWay: 0,
  next: 0,
})

export type Receipt = { hash: Hex; block: bigint; gas: bigint; contract: Hex | null }

/** How long to wait for a transaction to be in a block: public networks take seconds. */
const RECEIPT_MS = 120_000

/** Sends one transaction and waits for its block. Signed one at a time per relayer, so that nonces stay in order. */
export function send(engine: Engine, relayer: Relayer, tx: { to?: Hex; data: Hex }): Promise<Receipt> {
  const signed = relayer.queue.then(() => sign(engine, relayer, tx))
  const done = signed.then((raw) => deliver(engine, relayer, tx, raw))
  relayer.queue = (relayer.many ? signed : done).catch(() => {})
  return done.catch((error: unknown) => {
    throw explain(error)
  })
}

const clientOf = (engine: Engine) =>
  createPublicClient({ transport: custom(engine, { retryCount: 0 }), pollingInterval: 100 })

async function sign(engine: Engine, relayer: Relayer, tx: { to?: Hex; data: Hex }): Promise<Hex> {
  const client = clientOf(engine)
  const { account } = relayer
  const [price, gas, pending] = await Promise.all([
    client.getGasPrice(),
    client.estimateGas({ account: account.address, ...tx }),
    client.getTransactionCount({ address: account.address, blockTag: 'pending' }),
  ])
  const fees = price === 0n ? { maxFeePerGas: 0n, maxPriorityFeePerGas: 0n } : await client.estimateFeesPerGas()
  // not every RPC counts what waits
  const nonce = relayer.underWay > 0 ? Math.max(pending, relayer.next) : pending
  const raw = await account.signTransaction({
    type: 'eip1559',
    chainId: engine.chainId,
    nonce,
    gas,
    ...fees,
    ...tx,
  })
  relayer.underWay++
  relayer.next = nonce + 1
  return raw
}

async function deliver(
  engine: Engine,
  relayer: Relayer,
  tx: { to?: Hex; data: Hex },
  serializedTransaction: Hex,
): Promise<Receipt> {
  const client = clientOf(engine)
  try {
    const hash = await client.sendRawTransaction({ serializedTransaction })
    const receipt = await client.waitForTransactionReceipt({ hash, timeout: RECEIPT_MS })
    // what was estimated as possible may be overtaken by another: ask again for the reason
    if (receipt.status === 'reverted') {
      await client.call({ account: relayer.account.address, ...tx, blockNumber: receipt.blockNumber })
      throw new ZosError('Send transaction: it was reverted', { code: 'reverted', details: { hash } })
    }
    return { hash, block: receipt.blockNumber, gas: receipt.gasUsed, contract: receipt.contractAddress ?? null }
  } finally {
    relayer.underWay--
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
): Promise<{ contract: Hex; since: bigint; gas: bigint }> {
  const data = encodeDeployData({ abi: ledger.abi, bytecode: ledger.bytecode })
  const receipt = await send(engine, relayer, { data })
  return { contract: receipt.contract!.toLowerCase() as Hex, since: receipt.block, gas: receipt.gas }
}

/** The words of the enum Why in ../solidity/Types.sol, in its order. */
const WHY = [
  'the member set is no founding set',
  'the group exists',
  'a group has 1 to 56 members',
  'the members are not in ascending order of keccak256(signer)',
  'a signer has 20 to 1024 bytes',
  'a member has no such roles',
  'a member may approve but has no weight',
  'a threshold is 0 or above the total weight',
  'the version is not the one due',
  'a migration changes the spec',
  'a step of this kind carries no spec',
  'a report is above 256 bytes',
  'the sequence is not the current one',
  'a node cannot report this phase',
  'the slot was noticed or released before',
  'there is no such kind of step',
  'a deployment has 1 to 128 slots',
  'a slot has no such index or mode',
  'the slots are not in ascending order',
  'the slots are on too few farms',
  'the deadline of the registration is over',
  'the attributes are not those signed, or above 2048 bytes',
  'the nonce is not the next one',
  'a node cannot change its farm',
  'the key is in use',
  'there is no such node state',
  "the signature is not by the node's key",
]

const sentences: Record<string, (args: readonly unknown[]) => string> = {
  StaleEpoch: () => 'it names members or an epoch that no longer count; make the proposal anew',
  Expired: () => 'its time is over; make the proposal anew',
  NotAMember: ([n]) => `member ${n} has not that right`,
  BadSignature: ([n]) => `the signature of member ${n} is not good`,
  NotEnoughWeight: ([has, needs]) => `approvals weigh ${has} of ${needs} needed`,
  Invalid: ([why]) => WHY[Number(why)] ?? `reason ${why}`,
  WrongState: ([s]) => `the deployment is ${['not there', 'active', 'cancelled', 'wiped', 'expired'][Number(s)]}`,
  NotTheSuccessor: ([s]) => `the deployment has gone on to step ${s}; make the proposal anew`,
  NotAllowedThere: ([n]) => `the geo rules forbid node ${n}`,
  NodeTakesNoSlots: ([n]) => `node ${n} takes no new slots`,
  OverCapacity: ([n]) => `node ${n} has not that much free`,
  TooMuch: () => 'a resource is 2^27 or more',
  StillDraining: ([k]) => `slot ${k} is still leaving its last node`,
  AlreadyFroze: ([n]) => `member ${n} used its one freeze of this epoch`,
  TooEarly: ([t]) => `not before ${t}, or nothing is there`,
  NotTheOwner: () => 'the signer is not the owner',
  BadLabel: ([l]) => `"${l}" is no DNS label`,
  NameTaken: ([l]) => `the name "${l}" is taken`,
}

/** The contract's refusal in words; anything else as it came. */
export function explain(error: unknown): unknown {
  if (error instanceof ZosError) return error
  const found = revertOf(error)
  if (!found) {
    const why = error instanceof BaseError ? error.details || error.shortMessage : reasonOf(error)
    return new ZosError(`Send transaction: ${why.split('\n')[0]}`, { code: 'chain-failed', kind: 'node', cause: error })
  }
  const say = sentences[found.name]
  return new ZosError(`Send transaction: the contract refuses: ${say ? say(found.args) : found.name}`, {
    code: `contract-${found.name}`,
    details: { error: found.name, args: found.args.map(String) },
    cause: error,
  })
}

function revertOf(error: unknown): { name: string; args: readonly unknown[] } | undefined {
  if (!(error instanceof BaseError)) return undefined
  const typed = error.walk((e) => e instanceof ContractFunctionRevertedError) as ContractFunctionRevertedError | null
  if (typed?.data) return { name: typed.data.errorName, args: typed.data.args ?? [] }
  const raw = error.walk((e) => typeof (e as { data?: unknown }).data === 'string') as { data?: Hex } | null
  if (!raw?.data || raw.data.length < 10) return undefined
  try {
    const { errorName, args } = decodeErrorResult({ abi: ledger.abi, data: raw.data })
    return { name: errorName, args: (args as readonly unknown[] | undefined) ?? [] }
  } catch {
    return undefined
  }
}
