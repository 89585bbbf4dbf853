import type { Slot } from '#contract'
import type { Watched } from './pinned.ts'

/** What this node should do for one slot. */
export type Desired =
  | { do: 'run'; slot: Slot; place: number; count: number }
  /** Keep disk and reservation. */
  | { do: 'stop'; why: string }
  /** Nothing of it stays: the group said so. */
  | { do: 'wipe' }

/** Seconds a slot may go on here after it was placed elsewhere: until the new node is up. */
const drainOf = (d: Watched): number => d.consent.placed?.drain ?? 0

/**
 * What verified consent asks of node ME, slot by slot; KNOWN are the slots it has something of. Pure. A slot ends only by
 * a signed step that says so: cancelled, placed elsewhere, frozen, over its expiry. Standbys wait (nothing runs them yet).
 */
export function desiredOf(d: Watched, me: number, known: Iterable<number>, now: number): Map<number, Desired> {
  const { consent } = d
  const wanted = new Map<number, Desired>()
  const all = consent.placed?.slots ?? []
  const over = consent.placed !== null && consent.placed.expiry !== 0 && now / 1000 > consent.placed.expiry
  for (const index of known) {
    const draining = now < d.taken + drainOf(d) * 1000 && !d.released.includes(index)
    if (consent.status === 'wiped') wanted.set(index, { do: 'wipe' })
    else if (consent.status === 'cancelled') wanted.set(index, { do: 'stop', why: 'cancelled' })
    else if (!draining) wanted.set(index, { do: 'stop', why: 'placed elsewhere' })
  }
  if (consent.status !== 'active') return wanted
  for (const [place, slot] of all.entries()) {
    if (slot.node !== me || slot.mode === 2) continue
    if (over) wanted.set(slot.index, { do: 'stop', why: 'expired' })
    else if (consent.frozenUntil > now / 1000) wanted.set(slot.index, { do: 'stop', why: 'frozen by a member' })
    else wanted.set(slot.index, { do: 'run', slot, place, count: all.length })
  }
  return wanted
}
