import type { Message } from '../wire/control.ts'
import { told } from './advertise.ts'
import { INFINITE } from './numbers.ts'
import { addEntry } from './room.ts'
import { reselect } from './select.ts'
import { answerWaiting, requestSeqno } from './seqno.ts'
import { RETRACTED_HOLD, type RouterState, subnetOfPrefix } from './state.ts'
import { hasRoomFor, isFeasible } from './table.ts'
import type { Entry, Link, LinkId } from './types.ts'

type Update = Extract<Message, { type: 'update' }>

/** RFC 8966 §3.5.3, with upstream's filters: what a neighbour says about a subnet. */
export function receiveUpdate(state: RouterState, link: Link, m: Update, now: number): void {
  link.introduced = true
  const entry = entryFor(state, link, m, now)
  if (!entry) return
  const before = told(state, entry)
  const feasible = isFeasible(m, entry.sources.get(m.routerId))
  if (!feasible) state.counters.unfeasible++
  if (!apply(state, entry, link.id, m, feasible, now)) return
  reselect(state, entry, now, before)
  answerWaiting(state, entry, m, now)
}

function entryFor(state: RouterState, link: Link, m: Update, now: number): Entry | undefined {
  const subnet = subnetOfPrefix(m.prefix)
  const own = subnet ? state.origins.get(subnet) : undefined
  if (subnet && own && m.metric !== INFINITE && m.routerId !== own.routerId && state.options.owns(m.routerId, subnet))
    state.options.onClash?.(subnet, link.id)
  if (!subnet || own || (m.metric !== INFINITE && !state.options.owns(m.routerId, subnet))) {
    state.counters.filtered++
    return undefined
  }
  const known = state.entries.get(subnet)
  if (m.metric === INFINITE) return known
  const entry = known ?? addEntry(state, link, subnet, now)
  if (entry && hasRoomFor(entry, m.routerId, now)) return entry
  state.counters.tableFull++
  return undefined
}

/** Writes the offer into the table; false when it changes nothing. */
function apply(state: RouterState, entry: Entry, link: LinkId, m: Update, feasible: boolean, now: number): boolean {
  const route = entry.routes.get(link)
  // 3.5 times the interval in centiseconds, in milliseconds (RFC 8966 appendix B)
  const expires = now + (m.metric === INFINITE ? RETRACTED_HOLD : m.interval * 35)
  if (!route) {
    if (m.metric === INFINITE) return false
    // unfeasible offers are kept too: they are whom to ask for a fresher seqno
    entry.routes.set(link, { link, routerId: m.routerId, seqno: m.seqno, metric: m.metric, expires })
    if (!feasible && !entry.selected) requestSeqno(state, entry, m.routerId, link, now)
    return true
  }
  if (route.metric === INFINITE && m.metric === INFINITE) return false
  const selected = entry.selected === route
  if (!feasible && (!entry.selected || (selected && route.routerId === m.routerId)))
    requestSeqno(state, entry, m.routerId, link, now)
  // what is in use stays: its neighbour got dearer, which makes no loop, and the fresher seqno is on its way
  if (selected && !feasible && route.routerId === m.routerId) return false
  // a retraction carries the id of whoever sends it
  if (m.metric !== INFINITE) {
    route.routerId = m.routerId
    route.seqno = m.seqno
  }
  route.metric = m.metric
  if (feasible) route.expires = expires
  return true
}
