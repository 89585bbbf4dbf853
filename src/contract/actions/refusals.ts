import { reasonOf, ZosError } from '#codec'
import { BaseError, decodeErrorResult } from '#npm'
import { ledger } from '../artifact.ts'

type Hex = `0x${string}`

/** The enum Why of ../solidity/Types.sol in its order, and its words: what is refused without a figure to it. */
const WHY: [name: string, words: string][] = [
  ['StaleEpoch', 'it names members or an epoch that no longer count; make the proposal anew'],
  ['Expired', 'its time is over; make it anew'],
  ['NotTheOwner', 'the signer is not the owner'],
  ['Founding', 'the member set is no founding set, or the group exists'],
  ['MemberCount', 'a group has 1 to 56 members'],
  ['MemberOrder', 'the members are not in ascending order of keccak256(signer)'],
  ['SignerLength', 'a signer has 20 to 1024 bytes'],
  ['Roles', 'a member has no such roles'],
  ['NoWeight', 'a member may approve but has no weight'],
  ['Threshold', 'a threshold is 0 or above the total weight'],
  ['Version', 'the version is not the one due'],
  ['KeepsSpec', 'a migration changes the spec'],
  ['CarriesSpec', 'a step of this kind carries no spec'],
  ['ReportLength', 'a report is above 256 bytes'],
  ['Sequence', 'the sequence is not the current one'],
  ['Phase', 'a node cannot report this phase'],
  ['Noticed', 'it was noticed before'],
  ['Kind', 'there is no such kind of step'],
  ['SlotCount', 'a deployment has 1 to 128 slots'],
  ['SlotForm', 'a slot has no such index or mode'],
  ['SlotOrder', 'the slots are not in ascending order'],
  ['Farms', 'the slots are on too few farms'],
  ['Attributes', 'the attributes are above 2048 bytes'],
  ['Nonce', 'the nonce is not the next one'],
  ['Farm', 'a node cannot change its farm'],
  ['KeyInUse', 'the key is in use, or was'],
  ['NodeState', 'there is no such node state'],
  ['NodeSignature', "the signature is not by the node's key"],
  ['TooMuch', 'a resource is 2^27 or more'],
]

const sentences: Record<string, (args: readonly unknown[]) => string> = {
  NotAMember: ([n]) => `member ${n} has not that right`,
  BadSignature: ([n]) => `the signature of member ${n} is not good`,
  NotEnoughWeight: ([has, needs]) => `approvals weigh ${has} of ${needs} needed`,
  WrongState: ([s]) => `the deployment is ${['not there', 'active', 'cancelled', 'wiped', 'expired'][Number(s)]}`,
  NotTheSuccessor: ([s]) => `the deployment has gone on to step ${s}; make the proposal anew`,
  NotAllowedThere: ([n]) => `the geo rules forbid node ${n}`,
  NodeTakesNoSlots: ([n]) => `node ${n} takes no new slots`,
  OverCapacity: ([n]) => `node ${n} has not that much free`,
  StillDraining: ([k]) => `slot ${k} is still leaving its last node`,
  AlreadyFroze: ([n]) => `member ${n} used its one freeze of this epoch`,
  TooEarly: ([t]) => `not before ${t}, or nothing is there`,
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
  const [name, words] = (found.name === 'Invalid' && WHY[Number(found.args[0])]) || [found.name]
  return new ZosError(`Send transaction: the contract refuses: ${words ?? sentences[name]?.(found.args) ?? name}`, {
    code: `contract-${name}`,
    details: { error: name, args: found.args.map(String) },
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
