import { told } from './advertise.ts'
import { INFINITE, nextSeqno } from './numbers.ts'
import { reselect } from './select.ts'
import { requestFresher } from './seqno.ts'
import { HELLO_EVERY, RETRACTED_HOLD, type RouterState, SEQNO_REPEAT, SILENT_AFTER, type Told } from './state.ts'
import { dropOldSources } from './table.ts'
import type { Entry, Link } from './types.ts'

/** What time does: Hellos, silence, routes and requests that run out. */

export function sayHello(state: RouterState, link: Link, now: number): void {
  link.helloSeqno = nextSeqno(link.helloSeqno)
  // the first unanswered Hello says since when nothing came back
  if (link.helloAnswered) link.helloAt = now
  link.helloAnswered = false
  const interval = HELLO_EVERY / 10
  state.options.send(link.id, { type: 'hello', unicast: true, seqno: link.helloSeqno, interval })
}

/** Changes a link and chooses anew for every subnet that has a route over it. */
export function withLink(state: RouterState, link: Link, now: number, change: (entries: Entry[]) => void): void {
  const before = new Map<Entry, Told>()
  for (const entry of state.entries.values()) if (entry.routes.has(link.id)) before.set(entry, told(state, entry))
  change([...before.keys()])
  for (const [entry, was] of before) reselect(state, entry, now, was)
}

export function setSilent(state: RouterState, link: Link, silent: boolean, now: number): void {
  if (link.silent === silent) return
  withLink(state, link, now, () => {
    link.silent = silent
  })
}

/** Once a second. */
export function sweep(state: RouterState, now: number): void {
  state.searches = state.limits.searchesPerSecond
  for (const link of state.links.values()) {
    link.allowance = state.limits.requestsPerSecond
    if (!link.helloAnswered && now - link.helloAt > SILENT_AFTER + 4 * link.rtt) setSilent(state, link, true, now)
    sayHello(state, link, now)
  }
  for (const [key, request] of state.seqnoRequests) if (request.until <= now) state.seqnoRequests.delete(key)
  for (const entry of state.entries.values()) sweepEntry(state, entry, now)
  for (const [subnet, query] of state.queries) {
    if (query.until > now) continue
    state.queries.delete(subnet)
    state.options.onUnreachable?.(subnet)
  }
}

function sweepEntry(state: RouterState, entry: Entry, now: number): void {
  for (const route of entry.routes.values()) {
    if (route.expires > now) continue
    const before = told(state, entry)
    if (route.metric === INFINITE) entry.routes.delete(route.link)
    else {
      route.metric = INFINITE
      route.expires = now + RETRACTED_HOLD
    }
    if (entry.selected === route) reselect(state, entry, now, before)
  }
  if (!entry.selected && entry.routes.size > 0 && entry.askAfter <= now) {
    entry.askAfter = now + SEQNO_REPEAT
    requestFresher(state, entry, now)
  }
  dropOldSources(entry, now)
  if (entry.routes.size === 0 && entry.sources.size === 0) state.entries.delete(entry.subnet)
}
