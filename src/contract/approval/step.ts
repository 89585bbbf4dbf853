import { digestOf, ZERO } from '../typed/digest.ts'
import { type Freeze, type Kind, type MemberSet, ROLE, type Signature, type Transition } from '../typed/schema.ts'
import { refuse } from './error.ts'
import { checkConsent, checkSignature, type Evidence, type GroupState } from './set.ts'

type Hex = `0x${string}`

/**
 * What a node knows of one deployment from signatures alone: plain data, to be persisted between steps. `placed` is
 * the last transition that carried a spec.
 */
export type ConsentState = {
  name: string
  status: 'none' | 'active' | 'cancelled' | 'wiped'
  sequence: number
  version: number
  head: Hex
  /** Unix seconds until which one or more members stopped it; Infinity by quorum, 0 when not frozen. */
  frozenUntil: number
  placed: Transition | null
  /** Spec root of each approved version, for undo. */
  roots: { version: number; specRoot: Hex }[]
  /** "epoch:member" of each freeze used. */
  froze: string[]
  /** The last step that wiped it: data from before that is nobody's, whatever came after. */
  wiped?: number
}

export const noConsent = (name: string): ConsentState => ({
  name,
  status: 'none',
  sequence: 0,
  version: 0,
  head: ZERO,
  frozenUntil: 0,
  placed: null,
  roots: [],
  froze: [],
})

/** Versions back to which a group can undo; older roots are forgotten, so a state's size stays bounded. */
const ROOTS = 64

export function thresholdOf(kind: Kind, set: MemberSet): number {
  if (kind === 'wipe') return set.thresholds.wipe
  return kind === 'thaw' || kind === 'freeze' || kind === 'cancel' ? set.thresholds.control : set.thresholds.deploy
}

export const carriesSpec = (kind: Kind): boolean => ['deploy', 'update', 'undo', 'migrate'].includes(kind)
const grows = (kind: Kind): boolean => carriesSpec(kind) && kind !== 'migrate'

export type StepOptions = {
  /** Unix seconds, where the step is taken up live; a log of the past has no clock. */
  now?: number
  /** For members that are contracts. */
  evidence?: Evidence
}

/**
 * The state after one approved step, or a refusal: signed by enough weight of the pinned set, for this chain and
 * contract, successor of what is running.
 */
export function applyApproval(
  group: GroupState,
  state: ConsentState,
  t: Transition,
  signatures: Signature[],
  options: StepOptions = {},
): ConsentState {
  if (t.group !== group.group) throw refuse('wrong-group', `the approval is of group ${t.group}, not ${group.group}`)
  if (t.name !== state.name) throw refuse('wrong-group', `the approval is of "${t.name}", not "${state.name}"`)
  if (t.set !== group.digest || t.epoch !== group.set.epoch) {
    const which = t.epoch === group.set.epoch ? `another member set of epoch ${t.epoch}` : `epoch ${t.epoch}`
    throw refuse('stale-epoch', `the approval is of ${which}; the group is at epoch ${group.set.epoch}`)
  }
  const digest = digestOf(group.domain, 'Transition', t)
  checkConsent(group, thresholdOf(t.kind, group.set), digest, signatures, options.evidence)
  if (t.sequence !== state.sequence + 1 || t.previous !== state.head) {
    throw refuse('not-the-successor', `step ${t.sequence} does not follow step ${state.sequence} of "${t.name}"`)
  }
  if (options.now !== undefined && t.deadline < options.now)
    throw refuse('expired', 'the approval came after its deadline')
  checkStep(state, t, options.now)
  const spec = carriesSpec(t.kind)
  const roots = grows(t.kind)
    ? [...state.roots, { version: t.version, specRoot: t.specRoot }].slice(-ROOTS)
    : state.roots
  return {
    ...state,
    sequence: t.sequence,
    version: t.version,
    head: digest,
    status: spec ? 'active' : t.kind === 'cancel' ? 'cancelled' : t.kind === 'wipe' ? 'wiped' : state.status,
    frozenUntil:
      t.kind === 'freeze' ? Number.MAX_SAFE_INTEGER : t.kind === 'thaw' || t.kind === 'deploy' ? 0 : state.frozenUntil,
    placed: spec ? t : state.placed,
    roots,
    ...(t.kind === 'wipe' ? { wiped: t.sequence } : {}),
  }
}

/** The contract's rules again, so that a chain that lies about them moves no node. */
function checkStep(state: ConsentState, t: Transition, now: number | undefined): void {
  const wanted = state.version + (grows(t.kind) ? 1 : 0)
  if (t.version !== wanted) throw refuse('bad-transition', `"${t.kind}" has version ${t.version}, ${wanted} is due`)
  const expiry = state.placed?.expiry ?? 0
  // expiring needs no signature, so a deploy may follow an active deployment whose time is over
  const over = expiry !== 0 && (now === undefined || now > expiry)
  const fits =
    t.kind === 'deploy'
      ? state.status !== 'active' || over
      : state.status === 'active' || (t.kind === 'wipe' && state.status !== 'none')
  if (!fits) throw refuse('wrong-state', `"${t.kind}" does not apply to a deployment that is ${state.status}`)
  if (!carriesSpec(t.kind)) {
    if (t.slots.length > 0 || t.names.length > 0 || t.specRoot !== ZERO)
      throw refuse('bad-transition', `"${t.kind}" carries a spec`)
    return
  }
  if (t.slots.length === 0) throw refuse('bad-transition', `"${t.kind}" places nothing`)
  if (t.kind === 'migrate' && t.specRoot !== state.placed?.specRoot)
    throw refuse('bad-transition', 'a migration changes the spec')
  let last = -1
  for (const s of t.slots) {
    const key = s.index + (s.mode === 2 ? 128 : 0)
    if (key <= last) throw refuse('bad-transition', 'slots are not in ascending order')
    last = key
  }
}

/** The state after one member's stop. */
export function applyFreeze(
  group: GroupState,
  state: ConsentState,
  f: Freeze,
  signature: Signature,
  options: StepOptions = {},
): ConsentState {
  if (f.group !== group.group || f.name !== state.name)
    throw refuse('wrong-group', 'the freeze is of another deployment')
  if (f.epoch !== group.set.epoch) throw refuse('stale-epoch', 'the freeze is of another epoch')
  if (f.sequence !== state.sequence) throw refuse('not-the-successor', 'the freeze is of another version')
  if (state.status !== 'active') throw refuse('wrong-state', `a deployment that is ${state.status} cannot be frozen`)
  checkSignature(group, ROLE.stop, digestOf(group.domain, 'Freeze', f), signature, options.evidence)
  const by = `${group.set.epoch}:${signature.member}`
  if (state.froze.includes(by))
    throw refuse('already-froze', `member ${signature.member} froze it in this epoch before`)
  // an hour for clocks that differ: the contract has already held it against its own
  if (options.now !== undefined && f.until > options.now + group.set.freezeSeconds + 3600)
    throw refuse('expired', 'the freeze reaches further than the group allows')
  const sameEpoch = state.froze.filter((u) => u.startsWith(`${group.set.epoch}:`))
  return { ...state, froze: [...sameEpoch, by], frozenUntil: Math.max(state.frozenUntil, f.until) }
}
