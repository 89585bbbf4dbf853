import { ZosError } from '#codec'
import type { Slot, Transition } from '../typed/schema.ts'
import type { ApprovalLog } from './log.ts'
import { type ConsentState, carriesSpec } from './step.ts'

type Carried = Pick<Transition, 'specRoot' | 'slots' | 'rules' | 'names' | 'expiry' | 'drain'>

const carried = ({ specRoot, slots, rules, names, expiry, drain }: Transition): Carried => ({
  specRoot,
  slots,
  rules,
  names,
  expiry,
  drain,
})

/**
 * What an undo carries: the newest earlier version whose spec is another than today's, with the places and blobs it had
 * last. The blobs are still sealed to the nodes of those places, so nothing has to be opened for it.
 */
export function undoOf(log: ApprovalLog, state: ConsentState): { version: number; draft: Carried } {
  const now = state.placed?.specRoot
  const back = state.roots.filter((r) => r.version < state.version && r.specRoot !== now).at(-1)
  const found = log.approvals.findLast(
    (a) => carriesSpec(a.transition.kind) && a.transition.specRoot === back?.specRoot,
  )
  if (!back || !found) {
    throw new ZosError(`Undo "${state.name}": there is no earlier version`, { code: 'nothing-to-undo' })
  }
  const expired = found.transition.expiry !== 0 && found.transition.expiry * 1000 <= Date.now()
  return { version: back.version, draft: { ...carried(found.transition), ...(expired ? { expiry: 0 } : {}) } }
}

/** What a migration carries: the spec as it is, one slot on another node under a blob sealed to that node. */
export function migrationOf(state: ConsentState, index: number, to: { node: number; blob: Slot['blob'] }): Carried {
  const placed = state.placed
  const slot = placed?.slots.find((s) => s.index === index && s.mode !== 2)
  if (!placed || !slot) {
    throw new ZosError(`Migrate "${state.name}/${index}": there is no such slot`, { code: 'no-slot' })
  }
  if (slot.node === to.node) {
    throw new ZosError(`Migrate "${state.name}/${index}": it is on node ${to.node}`, { code: 'already-there' })
  }
  return { ...carried(placed), slots: placed.slots.map((s) => (s === slot ? { ...s, ...to } : s)) }
}

/** What a re-sealing carries: everything as it is, each slot's blob (in the slots' order) sealed to others. */
export function resealOf(state: ConsentState, blobs: Slot['blob'][]): Carried {
  if (!state.placed) throw new ZosError(`Reseal "${state.name}": it has no slots`, { code: 'no-slot' })
  return { ...carried(state.placed), slots: state.placed.slots.map((s, n) => ({ ...s, blob: blobs[n]! })) }
}
