import { ZosError } from '#codec'
import {
  type ApprovalLog,
  applyApproval,
  applyFreeze,
  applySet,
  type ConsentState,
  type Domain,
  digestOf,
  type Evidence,
  foundGroup,
  type GroupState,
  noConsent,
} from '#contract'

/** What of a deployment's log is new to this node, verified step by step; throws at the first step that is not consent. */
export type Advanced = { group: GroupState; consent: ConsentState }

const refuse = (code: string, reason: string) => new ZosError(`Take up the chain's word: ${reason}`, { code })

/**
 * Carries CONSENT (undefined: never seen) forward through LOG, as told by a chain that may lie. PINNED is the newest
 * member set of the group known before: a head signed by an older one is refused, unless it was taken before the change.
 * EVIDENCE is what the proven state says of members that are contracts; keys and passkeys need none.
 */
export function advance(
  at: { domain: Domain; groupId: `0x${string}`; name: string; pinned: GroupState | undefined },
  consent: ConsentState | undefined,
  log: ApprovalLog,
  evidence?: Evidence,
): Advanced {
  const { domain, pinned } = at
  const options = evidence ? { evidence } : {}
  if (log.chainId !== domain.chainId || log.contract !== domain.contract)
    throw refuse('wrong-chain', 'it is of another chain or contract')
  const [founding, ...later] = log.sets
  let group = foundGroup(domain, founding!.set)
  if (group.group !== at.groupId) throw refuse('wrong-group', `its founding set is not that of group ${at.groupId}`)
  const step = () => {
    const next = later.shift()!
    group = applySet(group, next.set, next.signatures, evidence)
  }
  const reach = (there: () => boolean) => {
    while (!there() && later.length > 0) step()
  }
  let state = consent ?? noConsent(at.name)
  const known = state.sequence
  if (known > log.approvals.length)
    throw refuse('went-back', `it has ${log.approvals.length} steps where ${known} were seen`)
  for (const [n, entry] of log.approvals.entries()) {
    reach(() => group.digest === entry.transition.set)
    if (n + 1 < known) continue
    if (n + 1 === known) {
      if (digestOf(domain, 'Transition', entry.transition) !== state.head)
        throw refuse('another-history', `step ${known} is not the one that was taken up`)
    } else {
      // without a clock: the contract held the deadline, and a node may come back long after it
      state = applyApproval(group, state, entry.transition, entry.signatures, options)
    }
    for (const f of entry.freezes) {
      reach(() => group.set.epoch === f.freeze.epoch)
      if (state.froze.includes(`${group.set.epoch}:${f.signature.member}`)) continue
      state = applyFreeze(group, state, f.freeze, f.signature, options)
    }
  }
  const last = log.approvals.at(-1)!.transition
  if (state.sequence > known && pinned && last.epoch < pinned.set.epoch)
    throw refuse(
      'stale-epoch',
      `step ${state.sequence} is of epoch ${last.epoch}; the group is at epoch ${pinned.set.epoch}`,
    )
  while (later.length > 0) step()
  if (pinned && group.set.epoch < pinned.set.epoch)
    throw refuse('went-back', `the group is at epoch ${group.set.epoch} where ${pinned.set.epoch} was seen`)
  return { group, consent: state }
}
