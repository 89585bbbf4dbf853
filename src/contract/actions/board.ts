import { checkSignature, type Evidence, type GroupState } from '../approval/set.ts'
import { thresholdOf } from '../approval/step.ts'
import { digestOf } from '../typed/digest.ts'
import { type Kind, type MemberSet, ROLE, type Signature } from '../typed/schema.ts'
import { readStep } from './deployments.ts'
import type { Grid } from './grid.ts'
import { canonical, contractMembers, readGroup } from './groups.ts'
import { events } from './logs.ts'
import { type Subject, subjectOf } from './subject.ts'

type Hex = `0x${string}`

// The chain's board: where proposals and their signatures are put up, for anyone to read. Whatever is on it is checked.

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

export const proposalId = (grid: Grid, s: Subject): Hex =>
  'set' in s ? digestOf(grid.domain, 'MemberSet', s.set) : digestOf(grid.domain, 'Transition', s.transition)

/** The proposals of a group that can still be completed: of this epoch, next in their deployment, in time. */
export async function listProposals(grid: Grid, group: Hex): Promise<Proposal[]> {
  const state = await readGroup(grid, group)
  return openProposals(grid, state, await told(grid, state.set))
}

/** The same, of the proposal ONLY where one is given. */
export async function openProposals(
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
export async function told(grid: Grid, set: MemberSet): Promise<(id: Hex) => Evidence> {
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

export function proposalOf(
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
