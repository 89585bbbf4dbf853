import { told } from './advertise.ts'
import { tellNews } from './news.ts'
import { INFINITE, nextSeqno } from './numbers.ts'
import { removeEntry } from './room.ts'
import { reselect } from './select.ts'
import { requestFresher } from './seqno.ts'
import {
  HELLO_EVERY,
  HELLO_IN_USE,
  IN_USE,
  INTRODUCED_WITHIN,
  RETRACTED_HOLD,
  type RouterState,
  SEQNO_REPEAT,
  SILENT_AFTER,
  SUSPECT_AFTER,
  type Told,
  WATCH_EVERY,
} from './state.ts'
import { dropOldSources } from './table.ts'
import type { Entry, Link } from './types.ts'

/** What time does: Hellos, silence, routes and requests that run out. */

export function sayHello(state: RouterState, link: Link, now: number): void {
  link.helloSeqno = nextSeqno(link.helloSeqno)
  // the first unanswered Hello says since when nothing came back
  if (link.helloAnswered) link.helloAt = now
  link.helloAnswered = false
  link.saidAt = now
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

/** For how long LINK may leave a Hello unanswered. */
export const silentAfter = (link: Link): number => SILENT_AFTER + 4 * link.rtt

function setSilent(state: RouterState, link: Link, now: number): void {
  if (link.silent) return
  withLink(state, link, now, () => {
    link.silent = true
  })
}

/** Anything from a neighbour proves that it lives. */
export function hear(state: RouterState, link: Link, now: number): void {
  link.heardAt = now
  if (link.silent || link.suspect) revive(state, link, now)
}

/** Apart from `hear`, which each packet calls: what a closure needs is made as its function begins. */
function revive(state: RouterState, link: Link, now: number): void {
  withLink(state, link, now, () => {
    link.silent = false
    link.suspect = false
  })
  tellNews(state, now)
}

/** When LINK, not having been heard since its Hello, is suspected. */
function suspectAt(link: Link): number {
  if (link.helloAnswered || link.suspect || link.silent) return Number.POSITIVE_INFINITY
  return Math.max(link.helloAt, link.heardAt) + SUSPECT_AFTER + 4 * link.rtt
}

/** A few times a second, while packets take LINK: a dead way is left before anybody notices, where there is another. */
function watch(state: RouterState, link: Link, now: number): void {
  if (now - link.saidAt >= HELLO_IN_USE) sayHello(state, link, now)
  if (now <= suspectAt(link)) return
  withLink(state, link, now, () => {
    link.suspect = true
  })
  // where the other ways are not feasible yet, a fresher seqno makes them so
  for (const entry of state.entries.values()) if (entry.selected?.link === link.id) requestFresher(state, entry, now)
}

/** Watches the links in use; returns when to call again. */
export function watchLinks(state: RouterState, now: number): number {
  let next = Number.POSITIVE_INFINITY
  const due = now >= state.watchAt
  if (due) state.watchAt = now + WATCH_EVERY
  for (const link of state.links.values()) {
    if (now - link.usedAt > IN_USE) continue
    if (due) watch(state, link, now)
    next = Math.min(next, link.saidAt + HELLO_IN_USE, suspectAt(link))
  }
  // what has to be done sooner than that waits for it
  return Math.max(next, state.watchAt)
}

/**
 * Asks a neighbour that has announced nothing since it came what it reaches, itself included. The public daemon says so unasked only
 * from 0.7.4 on; between two older ones nobody would find either for the minute that they remember having found nothing.
 */
function askSilent(state: RouterState, link: Link, now: number): void {
  if (link.introduced || now - link.upAt < INTRODUCED_WITHIN) return
  link.introduced = true
  state.options.send(link.id, { type: 'route-request', generation: 0 })
}

/** Once a second. */
export function sweep(state: RouterState, now: number): void {
  state.searches = state.limits.searchesPerSecond
  for (const link of state.links.values()) {
    link.allowance = state.limits.requestsPerSecond
    link.updates = state.limits.updatesPerSecond
    link.asked = 0
    if (!link.helloAnswered && now - link.helloAt > silentAfter(link)) setSilent(state, link, now)
    if (now - link.saidAt >= HELLO_EVERY / 2) sayHello(state, link, now)
    askSilent(state, link, now)
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
  if (entry.routes.size === 0 && entry.sources.size === 0) removeEntry(state, entry)
}
