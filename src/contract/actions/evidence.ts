import { codeOf, ZosError } from '#codec'
import type { ApprovalLog } from '../approval/log.ts'
import type { Evidence } from '../approval/set.ts'
import { digestOf } from '../typed/digest.ts'
import { signerKind } from '../typed/passkey.ts'
import type { MemberSet, Signature } from '../typed/schema.ts'
import type { Grid } from './grid.ts'
import { proveContracts, proveDeployment, proveSet } from './prove.ts'

type Hex = `0x${string}`

export type SetEntry = { set: MemberSet; signatures: Signature[] }

/**
 * VERIFY from signatures alone; where those of members that are contracts stand in the way, once more with what a proven
 * state says. So a group of keys and passkeys trusts no chain, and one with contracts trusts the state root for those.
 */
export async function withEvidence<T>(
  verify: (evidence?: Evidence) => T,
  prove: () => Promise<Evidence>,
): Promise<{ result: T; evidence?: Evidence }> {
  try {
    return { result: verify() }
  } catch (error) {
    if (!isSignature(error)) throw error
    const evidence = await prove()
    if (evidence.contracts.size === 0) throw error
    return { result: verify(evidence), evidence }
  }
}

const isSignature = (error: unknown): boolean =>
  codeOf(error) === 'bad-signature' || (error instanceof ZosError && error.details.code === 'bad-signature')

/** Evidence for a group's sets: the contract's current one, proven, and those before it by their links. */
export async function evidenceOfSets(grid: Grid, group: Hex, entries: SetEntry[]): Promise<Evidence> {
  const { root, set } = await proveSet(grid, group)
  return {
    taken: takenSets(grid, entries, set),
    contracts: await proveContracts(grid, root, contractsIn(grid, entries)),
  }
}

/** Evidence for a deployment's log: its steps up to the proven head, the freezes made at them, and its group's sets. */
export async function evidenceOfLog(grid: Grid, group: Hex, log: ApprovalLog): Promise<Evidence> {
  const { name } = log.approvals[0]!.transition
  const proven = await proveDeployment(grid, group, name)
  const taken = takenSets(grid, log.sets, proven.set)
  const digests = log.approvals.map((a) => digestOf(grid.domain, 'Transition', a.transition))
  for (let n = digests.indexOf(proven.head); n >= 0; n--) {
    taken.add(digests[n]!)
    // a freeze that never was would leave another frozenUntil than the proven one, which the node compares
    for (const f of log.approvals[n]!.freezes) taken.add(digestOf(grid.domain, 'Freeze', f.freeze))
    if (n > 0 && log.approvals[n]!.transition.previous !== digests[n - 1]) break
  }
  return { taken, contracts: await proveContracts(grid, proven, contractsIn(grid, log.sets)) }
}

function takenSets(grid: Grid, entries: SetEntry[], current: Hex): Set<string> {
  const digests = entries.map((e) => digestOf(grid.domain, 'MemberSet', e.set))
  const taken = new Set<string>()
  for (let n = digests.indexOf(current); n >= 0; n--) {
    taken.add(digests[n]!)
    if (n > 0 && entries[n]!.set.previous !== digests[n - 1]) break
  }
  return taken
}

/** The addresses that may be contracts: of members no key answers for offline. */
function contractsIn(grid: Grid, entries: SetEntry[]): Hex[] {
  const signers = entries.flatMap((e) => e.set.members.map((m) => m.signer))
  const asked = signers.filter((s) => ['address', 'other'].includes(signerKind(grid.domain, s)))
  return [...new Set(asked.map((s) => s.slice(0, 42) as Hex))]
}
