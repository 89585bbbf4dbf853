import { reasonOf, ZosError } from '#codec'
import { BaseError, decodeErrorResult } from '#npm'
import { ledger } from '../artifact.ts'

type Hex = `0x${string}`

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
  const data = dataOf(error)
  if (data === undefined || data.length < 10) return undefined
  try {
    const { errorName, args } = decodeErrorResult({ abi: ledger.abi, data })
    return { name: errorName, args: (args as readonly unknown[] | undefined) ?? [] }
  } catch {
    return undefined
  }
}

/** The bytes a contract gave back, wherever a client or a library between put them. */
function dataOf(error: unknown): Hex | undefined {
  let at = error as { data?: unknown; cause?: unknown } | null | undefined
  for (let depth = 0; at && typeof at === 'object' && depth < 8; depth++) {
    const data = (at.data as { data?: unknown } | null | undefined)?.data ?? at.data
    if (typeof data === 'string' && data.startsWith('0x')) return data as Hex
    at = at.cause as typeof at
  }
  return undefined
}
