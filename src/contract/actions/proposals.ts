import { canonicalJson, codeOf, ZosError } from '#codec'
import { stringToHex } from '#npm'
import type { GroupState } from '../approval/set.ts'
import { type ConsentState, carriesSpec } from '../approval/step.ts'
import type { Key } from '../keys/keys.ts'
import { ZERO } from '../typed/digest.ts'
import { type Kind, ROLE, type Signature, type Transition } from '../typed/schema.ts'
import { openProposals, type Proposal, proposalId, proposalOf, told } from './board.ts'
import { whyClosed } from './closed.ts'
import { consentArgs } from './consent.ts'
import type { Receipt } from './deliver.ts'
import { readStep } from './deployments.ts'
import { type Grid, notFinalYet, view } from './grid.ts'
import { placeOf, readGroup, submitMembership } from './groups.ts'
import { type Relayer, write } from './relayer.ts'
import type { Subject } from './subject.ts'

type Hex = `0x${string}`

/** How long a proposal may be signed. */
const DEADLINE_SECONDS = 7 * 86400

/** A proposal as somebody's signature left it; AGREED: it has taken effect, by RECEIPT where we brought it to the chain. */
export type Signed = Proposal & { agreed: boolean; receipt?: Receipt }

/** The parts of a transition its author decides; the rest follows from the state. */
export type Draft = Partial<
  Pick<Transition, 'specRoot' | 'slots' | 'rules' | 'names' | 'expiry' | 'drain' | 'deadline'>
>

/** The next step of a deployment, ready to be signed. Pure. */
export function draftTransition(group: GroupState, state: ConsentState, kind: Kind, draft: Draft = {}): Transition {
  return {
    kind,
    group: group.group,
    epoch: group.set.epoch,
    set: group.digest,
    name: state.name,
    sequence: state.sequence + 1,
    version: state.version + (carriesSpec(kind) && kind !== 'migrate' ? 1 : 0),
    previous: state.head,
    specRoot: ZERO,
    slots: [],
    rules: { allow: [], deny: [], farms: 0 },
    names: [],
    expiry: 0,
    drain: 0,
    // nobody should sign what will be over by then
    deadline: Math.min(Math.floor(Date.now() / 1000) + DEADLINE_SECONDS, draft.expiry || Number.POSITIVE_INFINITY),
    ...draft,
  }
}

/** One member's signature over a proposal: what travels, by the chain's board, a file or a message. */
export function signProposal(grid: Grid, group: GroupState, key: Key, subject: Subject): Signature {
  const member = placeOf(group, key.address)
  if (!(group.set.members[member]!.roles & ROLE.approve))
    throw new ZosError(`Approve as "${key.name}": this member may not approve`, { code: 'not-a-member' })
  return { member, signature: key.sign(proposalId(grid, subject)) }
}

/** Puts a proposal and its first approval on the chain's board; a threshold of 1 takes effect at once. */
export async function propose(grid: Grid, relayer: Relayer, key: Key, subject: Subject): Promise<Signed> {
  const group = await readGroup(grid, 'set' in subject ? subject.set.group : subject.transition.group)
  const signature = signProposal(grid, group, key, subject)
  const evidence = (await told(grid, group.set))(proposalId(grid, subject))
  const proposal = proposalOf(grid, group, subject, [signature], evidence)
  if (proposal.approvals >= proposal.needs) return complete(grid, relayer, proposal)
  // a step the contract would refuse is not put up: what would be short is weight alone
  await rehearse(grid, relayer, proposal)
  const data = stringToHex(canonicalJson(subject))
  await write(grid, relayer, 'post', postArgs(group, proposal.id, signature, data))
  return { ...proposal, agreed: false }
}

/**
 * Adds an approval; the one that completes the weight also submits the step. Of a proposal that has its weight already, for its last
 * signatures were given at one moment or whoever gave the last was cut off, it submits the step, also for who approved it before.
 */
export async function approve(grid: Grid, relayer: Relayer, key: Key, group: Hex, id: Hex): Promise<Signed> {
  const state = await readGroup(grid, group)
  const evidenceOf = await told(grid, state.set)
  const [found] = await openProposals(grid, state, evidenceOf, id)
  if (!found) {
    const why = (await whyClosed(grid, group, id)) ?? `no such open proposal; "zos proposals" lists them`
    throw new ZosError(`Approve "${id}": ${why}${await notFinalYet(grid)}`, { code: 'no-proposal' })
  }
  const signature = signProposal(grid, state, key, found.subject)
  const isSigned = found.signatures.some((s) => s.member === signature.member)
  if (isSigned && found.approvals < found.needs)
    throw new ZosError(`Approve "${id}": "${key.name}" approved it before`, { code: 'approved-before' })
  const signatures = [...found.signatures, ...(isSigned ? [] : [signature])].sort((a, b) => a.member - b.member)
  const proposal = proposalOf(grid, state, found.subject, signatures, evidenceOf(id))
  if (proposal.approvals >= proposal.needs) return complete(grid, relayer, proposal)
  await write(grid, relayer, 'post', postArgs(state, id, signature, '0x'))
  // others signed meanwhile, and saw as little weight as we did
  const [now] = await openProposals(grid, state, evidenceOf, id)
  if (now && now.approvals >= now.needs) return complete(grid, relayer, now)
  return { ...proposal, agreed: !now && (await isTaken(grid, proposal)) }
}

/** Brings what has its weight to the chain, unless another who signed at the same moment was first. */
async function complete(grid: Grid, relayer: Relayer, proposal: Proposal): Promise<Signed> {
  try {
    return { ...proposal, agreed: true, receipt: await submit(grid, relayer, proposal) }
  } catch (error) {
    if (await isTaken(grid, proposal)) return { ...proposal, agreed: true }
    throw error
  }
}

/** Whether it is the last step, or the set, that the contract took. */
async function isTaken(grid: Grid, { id, group, subject }: Proposal): Promise<boolean> {
  if ('set' in subject) return (await view(grid, 'groups', [group])) === id
  return (await readStep(grid, group, subject.transition.name)).head === id
}

const postArgs = ({ group, set }: GroupState, id: Hex, s: Signature, data: Hex) => [
  group,
  set.epoch,
  id,
  s.member,
  s.signature,
  data,
]

/** Asks the contract what it would say; passes only when weight is all that is missing. */
async function rehearse(grid: Grid, relayer: Relayer, p: Proposal): Promise<void> {
  try {
    await submit(grid, relayer, p)
  } catch (error) {
    if (codeOf(error) !== 'contract-NotEnoughWeight') throw error
  }
}

/** Sends an agreed step; any relayer may. */
export function submit(grid: Grid, relayer: Relayer, p: Pick<Proposal, 'subject' | 'signatures'>): Promise<Receipt> {
  if ('set' in p.subject) return submitMembership(grid, relayer, p.subject.set, p.signatures)
  return write(grid, relayer, 'approve', [p.subject.transition, ...consentArgs(p.signatures)])
}
