import { MODE, type Slot } from '#contract'
import type { Lease } from './leases.ts'
import type { Watched } from './pinned.ts'

/** The slot, and its place among how many under the signed root. A fenced one may run until UNTIL (bootClock). */
export type Run = { do: 'run'; slot: Slot; place: number; count: number; until?: number }

/** What this node should do for one slot. */
export type Desired =
  | Run
  /** Keep disk and reservation; of what is OVER the disk alone. */
  | { do: 'stop'; why: string; over?: true }
  /** Nothing of it stays. */
  | { do: 'wipe'; why: string }

/** How long the data of a slot that ended here can still be taken back by the group. Milliseconds. */
const RETAIN = 30 * 86_400_000

const BACK = 'taken back by the farmer'

/** An end (at SINCE) that no step takes back for so long is final. */
function ended(since: number, why: string, now: number): Desired {
  return now < since + RETAIN ? { do: 'stop', why, over: true } : { do: 'wipe', why: `${why} 30 days ago` }
}

/** How a slot is named in reports: a standby has its primary's number and 128. */
export const keyOfSlot = (s: Slot): number => s.index + (s.mode === MODE.standby ? 128 : 0)

/**
 * What verified consent asks of node ME, slot by slot (by keyOfSlot); KNOWN are the keys it has something of. Pure. A slot
 * ends only by a signed step that says so: cancelled, placed elsewhere, frozen, over its expiry; by the farmer's own signature
 * after the notice; or with its lease. NOW in Unix milliseconds.
 */
export function desiredOf(
  d: Watched,
  me: number,
  known: Iterable<number>,
  now: number,
  leaseOf: (index: number) => Lease,
): Map<number, Desired> {
  const { consent } = d
  const wanted = new Map<number, Desired>()
  const all = consent.placed?.slots ?? []
  const here = consent.status === 'active' ? all.filter((s) => s.node === me) : []
  for (const key of known) {
    const index = key % 128
    // a slot may go on here after it was placed elsewhere, until the new node is up: a fenced one may not
    const fenced = all.some((s) => s.index === index && s.mode === MODE.fenced)
    const drained = d.taken + (fenced ? 0 : (consent.placed?.drain ?? 0) * 1000)
    if (consent.status === 'wiped') wanted.set(key, { do: 'wipe', why: 'wiped' })
    else if (consent.status === 'cancelled') wanted.set(key, ended(d.taken, 'cancelled', now))
    else if (here.some((s) => s.index === index)) continue
    else if (now >= drained || d.released.some((k) => k % 128 === index))
      wanted.set(key, ended(drained, 'placed elsewhere', now))
  }
  const expiry = consent.placed?.expiry ?? 0
  for (const slot of here) {
    // who runs a slot cannot stand by for it
    if (slot.mode === MODE.standby && here.some((s) => s !== slot && s.index === slot.index)) continue
    const key = keyOfSlot(slot)
    const run: Run = { do: 'run', slot, place: all.indexOf(slot), count: all.length }
    const back = d.back?.[key]
    const lease = slot.mode === MODE.keep ? undefined : leaseOf(slot.index)
    if (expiry !== 0 && now / 1000 > expiry) wanted.set(key, ended(expiry * 1000, 'expired', now))
    // the next step that places it brings it back
    else if (back && back.step === consent.placed!.sequence) wanted.set(key, ended(back.since, BACK, now))
    else if (consent.frozenUntil > now / 1000) wanted.set(key, { do: 'stop', why: 'frozen by a member' })
    else if (lease?.held === false) wanted.set(key, { do: 'stop', why: lease.why })
    else wanted.set(key, lease ? { ...run, until: lease.until } : run)
  }
  return wanted
}
