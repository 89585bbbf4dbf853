import { canonicalJson, ZosError } from '#codec'
import { hexToString, stringToHex, z } from '#npm'
import { checkSignature, type Evidence, type GroupState } from '../approval/set.ts'
import { type ConsentState, carriesSpec, thresholdOf } from '../approval/step.ts'
import type { Key } from '../keys/keys.ts'
import { digestOf, ZERO } from '../typed/digest.ts'
import {
  type Kind,
  type MemberSet,
  memberSetSchema,
  ROLE,
  type Signature,
  type Transition,
  transitionSchema,
} from '../typed/schema.ts'
import { consentArgs, freezeArgs } from './consent.ts'
import type { Receipt } from './deliver.ts'
import { readConsent, readStep } from './deployments.ts'
import { type Grid, notFinalYet } from './grid.ts'
import { canonical, contractMembers, placeOf, readGroup, submitMembership } from './groups.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'

type Hex = `0x${string}`

/** How long a proposal may be signed. */
export const DEADLINE_SECONDS = 7 * 86400

/** What is proposed: a deployment's next step, or the group's next members. */
export type Subject = { transition: Transition } | { set: MemberSet }

export type Proposal = {
  /** The digest that is signed. */
  id: Hex
  group: Hex
  /** The deployment's name; '' for a change of members. */
  deployment: string
  kind: Kind | 'membership'
  subject: Subject
  signatures: Signature[]
  /** Weight of the approvals so far, and the weight needed. */
  approvals: number
  needs: number
}

const subjectSchema = z.union([
  z.strictObject({ transition: transitionSchema }),
  z.strictObject({ set: memberSetSchema }),
])

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
    deadline: Math.floor(Date.now() / 1000) + DEADLINE_SECONDS,
    ...draft,
  }
}

export const proposalId = (grid: Grid, s: Subject): Hex =>
  'set' in s ? digestOf(grid.domain, 'MemberSet', s.set) : digestOf(grid.domain, 'Transition', s.transition)

/** One member's signature over a proposal: what travels, by the chain's board, a file or a message. */
export function signProposal(grid: Grid, group: GroupState, key: Key, subject: Subject): Signature {
  const member = placeOf(group, key.address)
  if (!(group.set.members[member]!.roles & ROLE.approve))
    throw new ZosError(`Approve as "${key.name}": this member may not approve`, { code: 'not-a-member' })
  return { member, signature: key.sign(proposalId(grid, subject)) }
}

/** Puts a proposal and its first approval on the chain's board; a threshold of 1 takes effect at once. */
export async function propose(
  grid: Grid,
  relayer: Relayer,
  key: Key,
  subject: Subject,
): Promise<Proposal & { receipt?: Receipt }> {
  const group = await readGroup(grid, 'set' in subject ? subject.set.group : subject.transition.group)
  const signature = signProposal(grid, group, key, subject)
  const evidence = (await told(grid, group.set))(proposalId(grid, subject))
  const proposal = proposalOf(grid, group, subject, [signature], evidence)
  if (proposal.approvals >= proposal.needs) return { ...proposal, receipt: await submit(grid, relayer, proposal) }
  // a step the contract would refuse is not put up: what would be short is weight alone
  await rehearse(grid, relayer, proposal)
  const data = stringToHex(canonicalJson(subject))
  await write(grid, relayer, 'post', postArgs(group, proposal.id, signature, data))
  return proposal
}

/** Adds an approval; the one that completes the weight also submits the step. */
export async function approve(
  grid: Grid,
  relayer: Relayer,
  key: Key,
  group: Hex,
  id: Hex,
): Promise<Proposal & { receipt?: Receipt }> {
  const state = await readGroup(grid, group)
  const evidenceOf = await told(grid, state.set)
  const [found] = await openProposals(grid, state, evidenceOf, id)
  if (!found) {
    const later = await notFinalYet(grid)
    throw new ZosError(`Approve "${id}": no such open proposal; "zos proposals" lists them${later}`, {
      code: 'no-proposal',
    })
  }
  const signature = signProposal(grid, state, key, found.subject)
  if (found.signatures.some((s) => s.member === signature.member))
    throw new ZosError(`Approve "${id}": "${key.name}" approved it before`, { code: 'approved-before' })
  const signatures = [...found.signatures, signature].sort((a, b) => a.member - b.member)
  const proposal = proposalOf(grid, state, found.subject, signatures, evidenceOf(id))
  if (proposal.approvals >= proposal.needs) return { ...proposal, receipt: await submit(grid, relayer, proposal) }
  await write(grid, relayer, 'post', postArgs(state, id, signature, '0x'))
  return proposal
}

const postArgs = ({ group, set }: GroupState, id: Hex, s: Signature, data: Hex) => [
  ...[group, set.epoch, id],
  ...[s.member, s.signature, data],
]

function proposalOf(
  grid: Grid,
  group: GroupState,
  subject: Subject,
  signatures: Signature[],
  evidence?: Evidence,
): Proposal {
  const id = proposalId(grid, subject)
  const needs = 'set' in subject ? group.set.thresholds.membership : thresholdOf(subject.transition.kind, group.set)
  return {
    id,
    group: group.group,
    deployment: 'set' in subject ? '' : subject.transition.name,
    kind: 'set' in subject ? 'membership' : subject.transition.kind,
    subject,
    signatures,
    approvals: signatures.reduce((w, s) => w + checkSignature(group, ROLE.approve, id, s, evidence), 0),
    needs,
  }
}

/** Asks the contract what it would say; passes only when weight is all that is missing. */
async function rehearse(grid: Grid, relayer: Relayer, p: Proposal): Promise<void> {
  try {
    await submit(grid, relayer, p)
  } catch (error) {
    if ((error as { code?: string }).code !== 'contract-NotEnoughWeight') throw error
  }
}

/** Sends an agreed step; any relayer may. */
export function submit(grid: Grid, relayer: Relayer, p: Pick<Proposal, 'subject' | 'signatures'>): Promise<Receipt> {
  if ('set' in p.subject) return submitMembership(grid, relayer, p.subject.set, p.signatures)
  return write(grid, relayer, 'approve', [p.subject.transition, ...consentArgs(p.signatures)])
}

/** The proposals of a group that can still be completed: of this epoch, next in their deployment, in time. */
export async function listProposals(grid: Grid, group: Hex): Promise<Proposal[]> {
  const state = await readGroup(grid, group)
  return openProposals(grid, state, await told(grid, state.set))
}

/** The same, of the proposal ONLY where one is given. */
async function openProposals(
  grid: Grid,
  state: GroupState,
  evidenceOf: (id: Hex) => Evidence,
  only?: Hex,
): Promise<Proposal[]> {
  const { number } = await grid.engine.finalized()
  const posted = await events(grid, ['Posted'], [state.group], { to: BigInt(number) })
  const subjects = new Map<Hex, Subject>()
  const signatures = new Map<Hex, Map<number, Signature>>()
  for (const e of posted) {
    if (e.args.epoch !== state.set.epoch) continue
    const id = e.args.digest as Hex
    if (only !== undefined && id !== only) continue
    const posted = { member: e.args.member as number, signature: e.args.signature as Hex }
    const signature = canonical(grid, state.set, posted)
    const all = signatures.get(id) ?? new Map<number, Signature>()
    signatures.set(id, all.set(signature.member, signature))
    const subject = subjectOf(e.args.data as Hex)
    // the board is open to every member: what is told must be what was signed
    if (subject && proposalId(grid, subject) === id) subjects.set(id, subject)
  }
  const open: Proposal[] = []
  for (const [id, subject] of subjects) {
    if (!(await stillOpen(grid, state, subject))) continue
    const all = [...signatures.get(id)!.values()].sort((a, b) => a.member - b.member)
    const evidence = evidenceOf(id)
    const good = all.filter((s) => isGood(state, id, s, evidence))
    open.push(proposalOf(grid, state, subject, good, evidence))
  }
  return open
}

function subjectOf(data: Hex): Subject | undefined {
  try {
    return subjectSchema.parse(JSON.parse(hexToString(data)))
  } catch {
    return undefined
  }
}

/**
 * For members that are contracts, the board's own word: the contract asked them when the signature was posted, and asks
 * again when the step is submitted. A lie here costs a refused transaction, nothing more.
 */
async function told(grid: Grid, set: MemberSet): Promise<(id: Hex) => Evidence> {
  const contracts = await contractMembers(grid, set)
  return (id) => ({ contracts, taken: new Set([id]) })
}

function isGood(state: GroupState, id: Hex, s: Signature, evidence: Evidence): boolean {
  try {
    checkSignature(state, ROLE.approve, id, s, evidence)
    return true
  } catch {
    return false
  }
}

async function stillOpen(grid: Grid, state: GroupState, s: Subject): Promise<boolean> {
  const now = Date.now() / 1000
  if ('set' in s) return s.set.previous === state.digest && s.set.deadline >= now
  const t = s.transition
  const d = await readStep(grid, state.group, t.name)
  return t.previous === d.head && t.sequence === d.sequence + 1 && t.deadline >= now
}

/** Freezes a deployment at once, by one member alone. */
export async function freeze(
  grid: Grid,
  relayer: Relayer,
  key: Key,
  group: Hex,
  name: string,
): Promise<{ until: number }> {
  for (let attempt = 0; ; attempt++) {
    const { group: state, state: consent } = await readConsent(grid, group, name)
    if (consent.status === 'none')
      throw new ZosError(`Freeze "${name}": there is no such deployment`, { code: 'no-deployment' })
    const member = placeOf(state, key.address)
    // a minute's room for a chain whose clock is behind ours
    const until = Math.floor(Date.now() / 1000) + Math.max(1, state.set.freezeSeconds - 60)
    const f = { group, epoch: state.set.epoch, name, sequence: consent.sequence, until }
    const signature = { member, signature: key.sign(digestOf(grid.domain, 'Freeze', f)) }
    try {
      await write(grid, relayer, 'freeze', freezeArgs(f, signature))
      return { until }
    } catch (error) {
      // an update may have come in between; a stop must not fail for that
      const code = (error as { code?: string }).code
      if (attempt === 3 || (code !== 'contract-NotTheSuccessor' && code !== 'contract-StaleEpoch')) throw error
    }
  }
}
