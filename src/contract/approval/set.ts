import { keccak256 } from 'viem'
import { type Domain, digestOf, ZERO } from '../typed/digest.ts'
import { recoverSigner } from '../typed/recover.ts'
import { type MemberSet, ROLE, type Signature } from '../typed/schema.ts'
import { refuse } from './error.ts'

type Hex = `0x${string}`

/** A group as far as its sets are known: the one that counts now. */
export type GroupState = { domain: Domain; group: Hex; set: MemberSet; digest: Hex }

/** The founding set: its digest is the group's id, so whoever knows the id needs to trust nobody for it. */
export function foundGroup(domain: Domain, set: MemberSet): GroupState {
  if (set.group !== ZERO || set.epoch !== 1) throw refuse('bad-set', 'the first member set is not a founding set')
  checkSet(set)
  const digest = digestOf(domain, 'MemberSet', set)
  return { domain, group: digest, set, digest }
}

/** The next epoch, by the membership threshold of the members before it. */
export function applySet(state: GroupState, set: MemberSet, signatures: Signature[]): GroupState {
  const { domain, group } = state
  if (set.group !== group) throw refuse('wrong-group', `the member set is of group ${set.group}, not ${group}`)
  if (set.epoch !== state.set.epoch + 1 || set.previous !== state.digest) {
    throw refuse('stale-epoch', `the member set of epoch ${set.epoch} does not follow epoch ${state.set.epoch}`)
  }
  checkSet(set)
  const digest = digestOf(domain, 'MemberSet', set)
  checkConsent(state.set, state.set.thresholds.membership, digest, signatures)
  return { domain, group, set, digest }
}

/** As the contract's _validate, so that offline and on chain the same sets are members. */
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
export function checkConsent(set: MemberSet, needed: number, digest: Hex, signatures: Signature[]): void {
  let weight = 0
  let last = -1
  for (const s of signatures) {
    if (s.member <= last) throw refuse('bad-signature', `member ${s.member} signs twice or out of order`)
    last = s.member
    weight += checkSignature(set, ROLE.approve, digest, s)
  }
  if (weight < needed) {
    throw refuse('not-enough-weight', `weight ${weight} of ${needed} needed`, { weight, needed })
  }
}

/** The weight of a member whose signature over DIGEST is good. Offline only keys count: a contract's word can change. */
export function checkSignature(set: MemberSet, role: number, digest: Hex, s: Signature): number {
  const member = set.members[s.member]
  if (!member || !(member.roles & role))
    throw refuse('not-a-member', `place ${s.member} has no such right in this epoch`)
  if (recoverSigner(digest, s.signature) !== member.signer) {
    throw refuse(
      'bad-signature',
      `the signature of member ${s.member} is not by ${member.signer} for this step, chain and contract`,
      { member: s.member, signer: member.signer },
    )
  }
  return member.weight
}
