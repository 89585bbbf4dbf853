import type { Subnet } from '../address.ts'
import { addMetric, INFINITE, isNewer } from './numbers.ts'
import type { Entry, Link, Route, Source } from './types.ts'

/** Half an hour, as upstream; kept longer while a route of that source is there. */
const SOURCE_LIFETIME = 30 * 60_000
/**
 * Sources remembered of one entry. Each start of a node makes one, and a neighbour may make up any number; up to this many none is
 * forgotten sooner than RFC 8966 says.
 */
export const MOST_SOURCES = 16
const SHORTEST_LIFETIME = 3 * 60_000
/** A route replaces a usable one only when it is better by more than this, or leads straight to the owner. */
const WORTH_SWITCHING = 10

export const newEntry = (subnet: Subnet, host: string, now: number): Entry => ({
  subnet,
  host,
  routes: new Map(),
  selected: undefined,
  sources: new Map(),
  asker: undefined,
  since: now,
  changed: -1,
  refreshAfter: 0,
  askAfter: 0,
})

/** RFC 8966 §3.5.1: what no loop can come of: a retraction, a fresher seqno, or less than we ever advertised. */
export function isFeasible(offer: { seqno: number; metric: number }, source: Source | undefined): boolean {
  if (offer.metric === INFINITE || !source) return true
  return isNewer(offer.seqno, source.seqno) || (offer.seqno === source.seqno && offer.metric < source.metric)
}

/** Call with every finite metric that is sent (RFC 8966 §3.7.3). */
export function noteAdvertised(entry: Entry, routerId: string, seqno: number, metric: number, now: number): void {
  if (metric === INFINITE) return
  const source = entry.sources.get(routerId)
  const expires = now + SOURCE_LIFETIME
  if (!source) entry.sources.set(routerId, { seqno, metric, expires })
  else {
    source.expires = expires
    if (isNewer(seqno, source.seqno)) {
      source.seqno = seqno
      source.metric = metric
    } else if (seqno === source.seqno && metric < source.metric) source.metric = metric
  }
}

/** False while one more source cannot be remembered: without its feasibility distance a route of it might make a loop. */
export function hasRoomFor(entry: Entry, routerId: string, now: number): boolean {
  if (entry.sources.size < MOST_SOURCES || entry.sources.has(routerId)) return true
  dropOldSources(entry, now + SOURCE_LIFETIME - SHORTEST_LIFETIME)
  return entry.sources.size < MOST_SOURCES
}

export function dropOldSources(entry: Entry, now: number): void {
  for (const [routerId, source] of entry.sources) {
    if (source.expires > now) continue
    if ([...entry.routes.values()].some((route) => route.routerId === routerId)) continue
    entry.sources.delete(routerId)
  }
}

/** More than any way round costs that is worth taking, less than makes the link unusable. */
const SUSPICION = 2_000

/** Cost of a link: its transport's plus a unit per millisecond of round trip, as upstream counts. */
export const linkCost = (link: Link): number =>
  Math.min(link.base + Math.round(link.rtt) + (link.suspect ? SUSPICION : 0), INFINITE - 1)

/** What we would tell others: unreachable over links that are gone or silent. */
export function metricVia(route: Route, links: ReadonlyMap<number, Link>): number {
  const link = links.get(route.link)
  return link && !link.silent ? addMetric(route.metric, linkCost(link)) : INFINITE
}

/** The route to use now; the present one is kept unless another is clearly better. */
export function bestRoute(entry: Entry, links: ReadonlyMap<number, Link>): Route | undefined {
  let best: Route | undefined
  let bestMetric = INFINITE
  for (const route of entry.routes.values()) {
    const metric = metricVia(route, links)
    if (metric >= bestMetric || !isFeasible(route, entry.sources.get(route.routerId))) continue
    best = route
    bestMetric = metric
  }
  const { selected } = entry
  if (!best || !selected || best === selected || best.metric === 0) return best
  const present = metricVia(selected, links)
  const usable = present !== INFINITE && isFeasible(selected, entry.sources.get(selected.routerId))
  return usable && bestMetric >= present - WORTH_SWITCHING ? selected : best
}
