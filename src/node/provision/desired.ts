import { MODE, type Slot } from '#contract'
import type { Watched } from './pinned.ts'

/** The slot, and its place among how many under the signed root. */
export type Run = { do: 'run'; slot: Slot; place: number; count: number }

/** What this node should do for one slot. */
export type Desired =
  | Run
  /** Keep disk and reservation. */
  | { do: 'stop'; why: string }
  /** Nothing of it stays. */
  | { do: 'wipe'; why: string }

/** How long the data of a slot that ended here can still be taken back by the group. Milliseconds. */
const RETAIN = 30 * 86_400_000

/** An end (at SINCE) that no step takes back for so long is final. */
function ended(since: number, why: string, now: number): Desired {
  return now < since + RETAIN ? { do: 'stop', why } : { do: 'wipe', why: `${why} 30 days ago` }
}

/**
 * What verified consent asks of node ME, slot by slot; KNOWN are the slots it has something of. Pure. A slot ends only by
 * a signed step that says so: cancelled, placed elsewhere, frozen, over its expiry. NOW in Unix milliseconds.
 */
export function desiredOf(d: Watched, me: number, known: Iterable<number>, now: number): Map<number, Desired> {
  const { consent } = d
  const wanted = new Map<number, Desired>()
  const all = consent.placed?.slots ?? []
  // a slot may go on here after it was placed elsewhere, until the new node is up
  const drained = d.taken + (consent.placed?.drain ?? 0) * 1000
  for (const index of known) {
    if (consent.status === 'wiped') wanted.set(index, { do: 'wipe', why: 'wiped' })
    else if (consent.status === 'cancelled') wanted.set(index, ended(d.taken, 'cancelled', now))
    else if (now >= drained || d.released.includes(index)) wanted.set(index, ended(drained, 'placed elsewhere', now))
  }
  if (consent.status !== 'active') return wanted
  const expiry = consent.placed?.expiry ?? 0
  for (const [place, slot] of all.entries()) {
    if (slot.node !== me || slot.mode === MODE.standby) continue
    if (expiry !== 0 && now / 1000 > expiry) wanted.set(slot.index, ended(expiry * 1000, 'expired', now))
    else if (consent.frozenUntil > now / 1000) wanted.set(slot.index, { do: 'stop', why: 'frozen by a member' })
    else wanted.set(slot.index, { do: 'run', slot, place, count: all.length })
  }
  return wanted
}
