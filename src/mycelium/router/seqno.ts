import type { Subnet } from '../address.ts'
import type { Message, RouterId } from '../wire/control.ts'
import { advertise, announce } from './advertise.ts'
import { INFINITE, isNewer, nextSeqno } from './numbers.ts'
import {
  prefixOf,
  REMEMBER_REQUEST,
  type RouterState,
  SEQNO_BUMP_EVERY,
  SEQNO_HOPS,
  SEQNO_REPEAT,
  subnetOfPrefix,
} from './state.ts'
import { isFeasible } from './table.ts'
import type { Entry, Link, LinkId, Origin } from './types.ts'

/** Fresher seqnos, for those to whom only unfeasible routes are left (RFC 8966 §3.8.1.2, §3.8.2.1). */

const keyOf = (subnet: Subnet, routerId: RouterId): string => `${subnet} ${routerId}`

/** False when the same was sent a moment ago: the answer will serve this asker too. */
function remember(
  state: RouterState,
  subnet: Subnet,
  routerId: RouterId,
  seqno: number,
  now: number,
  waiting?: LinkId,
): boolean {
  const key = keyOf(subnet, routerId)
  const known = state.seqnoRequests.get(key)
  const same = known && known.until > now && !isNewer(seqno, known.seqno) ? known : undefined
  const set = same?.waiting ?? new Set<LinkId>()
  if (waiting !== undefined) set.add(waiting)
  if (same && now - same.sentAt < SEQNO_REPEAT) return false
  if (!known && state.seqnoRequests.size >= state.limits.queries) return false
  state.seqnoRequests.set(key, { until: now + REMEMBER_REQUEST, sentAt: now, seqno, waiting: set })
  return true
}

/** Asks LINK for a route to the source that is newer than what we ever advertised. */
export function requestSeqno(state: RouterState, entry: Entry, routerId: RouterId, link: LinkId, now: number): void {
  const source = entry.sources.get(routerId)
  const to = state.links.get(link)
  // more than it takes in a second: `sweepEntry` asks again
  if (!source || !to || to.asked >= state.limits.requestsPerSecond) return
  to.asked++
  const seqno = nextSeqno(source.seqno)
  remember(state, entry.subnet, routerId, seqno, now)
  const prefix = prefixOf(entry.subnet)
  state.options.send(link, { type: 'seqno-request', seqno, hops: SEQNO_HOPS, routerId, prefix })
}

/** Asks everybody who offers a way to the entry. */
export function requestFresher(state: RouterState, entry: Entry, now: number): void {
  for (const route of entry.routes.values()) {
    if (route.metric === INFINITE || state.links.get(route.link)?.silent !== false) continue
    requestSeqno(state, entry, route.routerId, route.link, now)
  }
}

/** A seqno somebody asked us for has come: they hear of it although nothing else changed. */
export function answerWaiting(
  state: RouterState,
  entry: Entry,
  update: { routerId: RouterId; seqno: number },
  now: number,
): void {
  const key = keyOf(entry.subnet, update.routerId)
  const asked = state.seqnoRequests.get(key)
  if (!asked || isNewer(asked.seqno, update.seqno)) return
  state.seqnoRequests.delete(key)
  if (entry.selected?.routerId !== update.routerId || isNewer(asked.seqno, entry.selected.seqno)) return
  const there = [...asked.waiting].filter((link) => state.links.has(link))
  advertise(state, entry, now, there)
}

type Request = Extract<Message, { type: 'seqno-request' }>

/**
 * Who asks for more than the next seqno was told one that this node never said: anybody can say so in its name, and until it is
 * beyond that it cannot be reached there. In steps of a quarter circle, as what is half of it ahead is newer for nobody.
 */
const LONGEST_STEP = 0x4000

function answerOwn(state: RouterState, origin: Origin, link: Link, m: Request, now: number): void {
  const ahead = (m.seqno - origin.seqno) & 0xffff
  const wanted = origin.routerId === m.routerId && ahead > 0 && ahead <= 0x8000
  // too early for another: whoever starves asks again
  if (wanted && now - origin.bumpedAt < SEQNO_BUMP_EVERY) return
  if (wanted) {
    origin.seqno = (origin.seqno + Math.min(ahead, LONGEST_STEP)) & 0xffff
    origin.bumpedAt = now
  }
  announce(state, origin, wanted ? state.links.keys() : [link.id])
}

export function receiveSeqnoRequest(state: RouterState, link: Link, m: Request, now: number): void {
  const subnet = subnetOfPrefix(m.prefix)
  if (!subnet) return
  const origin = state.origins.get(subnet)
  if (origin) {
    answerOwn(state, origin, link, m, now)
    return
  }
  const entry = state.entries.get(subnet)
  const selected = entry?.selected
  if (selected && (selected.routerId !== m.routerId || !isNewer(m.seqno, selected.seqno))) {
    advertise(state, entry, now, [link.id])
    return
  }
  if (!entry || m.hops < 2 || !remember(state, subnet, m.routerId, m.seqno, now, link.id)) return
  const next = nextHop(entry, m.routerId, link.id)
  if (next !== undefined) state.options.send(next, { ...m, hops: m.hops - 1 })
}

/** The neighbour most likely to reach the owner: the one in use, else any that offers a way. */
function nextHop(entry: Entry, routerId: RouterId, from: LinkId): LinkId | undefined {
  const { selected } = entry
  if (selected && selected.link !== from) return selected.link
  const offers = [...entry.routes.values()].filter(
    (r) => r.link !== from && r.metric !== INFINITE && r.routerId === routerId,
  )
  const source = entry.sources.get(routerId)
  offers.sort((a, b) => Number(isFeasible(b, source)) - Number(isFeasible(a, source)) || a.metric - b.metric)
  return offers[0]?.link
}
