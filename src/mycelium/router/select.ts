import { told } from './advertise.ts'
import { note } from './news.ts'
import { INFINITE } from './numbers.ts'
import { requestFresher } from './seqno.ts'
import { BIG_CHANGE, type RouterState, type Told } from './state.ts'
import { bestRoute } from './table.ts'
import type { Entry } from './types.ts'

/** Chooses anew; the neighbours are to be told when it matters to them. BEFORE is what they know. */
export function reselect(state: RouterState, entry: Entry, now: number, before: Told): void {
  const old = entry.selected
  const best = bestRoute(entry, state.links)
  entry.selected = best
  if (best?.link !== old?.link || best?.routerId !== before.routerId) {
    entry.since = now
    state.options.onSelected?.(entry.subnet, best)
  }
  if (best) state.queries.delete(entry.subnet)
  else if (old) requestFresher(state, entry, now)
  const after = told(state, entry)
  const changed =
    after.routerId !== before.routerId ||
    (after.metric === INFINITE) !== (before.metric === INFINITE) ||
    Math.abs(after.metric - before.metric) > BIG_CHANGE
  if (changed) note(state, entry)
}
