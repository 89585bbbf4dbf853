import { keccak256 } from '#npm'
import { type Domain, digestOf, ZERO } from '../typed/digest.ts'
import { signedBy, signerKind } from '../typed/passkey.ts'
import { type MemberSet, ROLE, type Signature } from '../typed/schema.ts'
import { refuse } from './error.ts'

type Hex = `0x${string}`

/** A group as far as its sets are known: the one that counts now. */
export type GroupState = { domain: Domain; group: Hex; set: MemberSet; digest: Hex }

/**
 * What a proven state says beyond signatures: which addresses have code, and which digests the contract took. A contract
 * wallet's word can change with its chain, so it counts only for what the chain's state shows as taken.
 */
export type Evidence = { contracts: ReadonlySet<string>; taken: ReadonlySet<string> }

/** The founding set: its digest is the group's id, so whoever knows the id needs to trust nobody for it. */
export function foundGroup(domain: Domain, set: MemberSet): GroupState {
  if (set.group !== ZERO || set.epoch !== 1) throw refuse('bad-set', 'the first member set is not a founding set')
  checkSet(set)
  const digest = digestOf(domain, 'MemberSet', set)
  return { domain, group: digest, set, digest }
}

/** The next epoch, by the membership threshold of the members before it. */
export function applySet(state: GroupState, set: MemberSet, signatures: Signature[], evidence?: Evidence): GroupState {
  const { domain, group } = state
  if (set.group !== group) throw refuse('wrong-group', `the member set is of group ${set.group}, not ${group}`)
  if (set.epoch !== state.set.epoch + 1 || set.previous !== state.digest) {
    throw refuse('stale-epoch', `the member set of epoch ${set.epoch} does not follow epoch ${state.set.epoch}`)
  }
  checkSet(set)
  const digest = digestOf(domain, 'MemberSet', set)
  checkConsent(state, state.set.thresholds.membership, digest, signatures, evidence)
  return { domain, group, set, digest }
}

/** As the contract's _seat, so that offline and on chain the same sets are members. */
function checkSet(set: MemberSet): void {
  let total = 0
  let last = 0n
  for (const m of set.members) {
    const id = BigInt(keccak256(m.signer))
    if (id <= last) throw refuse('bad-set', 'members are not in ascending order of keccak256(signer)')
    if (m.roles & ROLE.approve) {
      if (m.weight === 0) throw refuse('bad-set', `member ${m.signer} may approve but has no weight`)
      total += m.weight
    }
    last = id
  }
  for (const [name, threshold] of Object.entries(set.thresholds)) {
    if (threshold < 1 || threshold > total)
      throw refuse('bad-set', `threshold ${threshold} for ${name} is not within 1 and the total weight ${total}`)
  }
}

/** Members in ascending order, so that none counts twice, each with the right to approve, together heavy enough. */
export function checkConsent(
  group: GroupState,
  needed: number,
  digest: Hex,
  signatures: Signature[],
  evidence?: Evidence,
): void {
  let weight = 0
  let last = -1
  for (const s of signatures) {
    if (s.member <= last) throw refuse('bad-signature', `member ${s.member} signs twice or out of order`)
    last = s.member
    weight += checkSignature(group, ROLE.approve, digest, s, evidence)
  }
  if (weight < needed) {
    throw refuse('not-enough-weight', `weight ${weight} of ${needed} needed`, { weight, needed })
  }
}

/**
 * The weight of a member whose signature over DIGEST is good. Keys and passkeys count by their signature alone; a member
 * that is a contract counts only with EVIDENCE.
 */
export function checkSignature(
  { domain, set }: Pick<GroupState, 'domain' | 'set'>,
  role: number,
  digest: Hex,
  s: Signature,
  evidence?: Evidence,
): number {
  const member = set.members[s.member]
  if (!member || !(member.roles & role))
    throw refuse('not-a-member', `place ${s.member} has no such right in this epoch`)
  const { signer, weight } = member
  if (signedBy(domain, signer, digest, s.signature)) return weight
  const contract = ['address', 'other'].includes(signerKind(domain, signer))
  if (contract && evidence?.contracts.has(signer.slice(0, 42)) && evidence.taken.has(digest)) return weight
  const hint = contract ? '; if it is a contract, only the proven state of its chain can tell' : ''
  throw refuse(
    'bad-signature',
    `the signature of member ${s.member} is not by ${signer} for this step, chain and contract${hint}`,
    { member: s.member, signer },
  )
}
