import { canonicalJson, ZosError } from '#codec'
import { stringToHex } from '#npm'
import { checkSignature, type Evidence, type GroupState } from '../approval/set.ts'
import { type ConsentState, carriesSpec, thresholdOf } from '../approval/step.ts'
import type { Key } from '../keys/keys.ts'
import { digestOf, ZERO } from '../typed/digest.ts'
import { type Kind, type MemberSet, ROLE, type Signature, type Transition } from '../typed/schema.ts'
import { whyClosed } from './closed.ts'
import { consentArgs, freezeArgs } from './consent.ts'
import type { Receipt } from './deliver.ts'
import { readConsent, readStep } from './deployments.ts'
import { type Grid, notFinalYet, view } from './grid.ts'
import { canonical, contractMembers, placeOf, readGroup, submitMembership } from './groups.ts'
import { events } from './logs.ts'
import { type Relayer, write } from './relayer.ts'
import { type Subject, subjectOf } from './subject.ts'

type Hex = `0x${string}`

/** How long a proposal may be signed. */
const DEADLINE_SECONDS = 7 * 86400

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
    // what is over before the last signs is not to be signed
    deadline: Math.min(Math.floor(Date.now() / 1000) + DEADLINE_SECONDS, draft.expiry || Number.POSITIVE_INFINITY),
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
    // room for a chain whose clock is behind ours: a minute, of a short time a quarter
    const { freezeSeconds } = state.set
    const until = Math.floor(Date.now() / 1000) + freezeSeconds - Math.min(60, Math.floor(freezeSeconds / 4))
    const f = { group, epoch: state.set.epoch, name, sequence: consent.sequence, until }
    const signature = { member, signature: key.sign(digestOf(grid.domain, 'Freeze', f)) }
    try {
      await write(grid, relayer, 'freeze', freezeArgs(f, signature))
      return { until }
    } catch (error) {
      // an update may have come in between; a stop must not fail for that
      const code = (error as { code?: string }).code
      if (code === 'contract-AlreadyFroze')
        throw new ZosError(
          `Freeze "${name}": "${key.name}" used its one freeze of this epoch; another member can, or the group holds it: zos freeze ${name} --hold`,
          { code, cause: error },
        )
      if (attempt === 3 || (code !== 'contract-NotTheSuccessor' && code !== 'contract-StaleEpoch')) throw error
    }
  }
}
