import { INFINITE } from './numbers.ts'
import { type RouterState, type Told, unreachable, updateMessage } from './state.ts'
import { metricVia, noteAdvertised } from './table.ts'
import type { Entry, LinkId, Origin } from './types.ts'

/** Telling neighbours what can be reached here. */

export function announce(state: RouterState, origin: Origin, to: Iterable<LinkId> = state.links.keys()): void {
  const message = updateMessage(origin.subnet, origin.routerId, origin.seqno, 0)
  for (const link of to) state.options.send(link, message)
}

export function announceAll(state: RouterState, to?: Iterable<LinkId>): void {
  for (const origin of state.origins.values()) announce(state, origin, to)
}

/** Tells TO what we now use for the entry: a metric, or that it is gone. Who takes nothing more now has to ask again. */
export function advertise(state: RouterState, entry: Entry, now: number, to: Iterable<LinkId>): void {
  const { selected } = entry
  const metric = selected ? metricVia(selected, state.links) : INFINITE
  // upstream retracts with its own router id; any id does, a retraction is about the neighbour and the subnet
  const routerId = selected?.routerId ?? state.origins.values().next().value?.routerId ?? '0'.repeat(80)
  const message = updateMessage(entry.subnet, routerId, selected?.seqno ?? 0, metric)
  let sent = false
  for (const link of to) {
    // the next hop could never use its own route back
    if (selected && link === selected.link) continue
    if (state.options.hasRoom?.(link) === false) continue
    // before it is sent: nothing that is told may be cheaper than what was noted
    if (!sent && selected) noteAdvertised(entry, routerId, selected.seqno, metric, now)
    sent = true
    state.options.send(link, message)
  }
}

/** What `advertise` would say now. */
export const told = (state: RouterState, { selected }: Entry): Told =>
  selected ? { routerId: selected.routerId, metric: metricVia(selected, state.links) } : unreachable
