import { isOverlay, type Subnet } from '../address.ts'
import type { Message, Prefix, RouterId } from '../wire/control.ts'
import { INFINITE, isNewer, nextSeqno } from './numbers.ts'
import { bestRoute, dropOldSources, isFeasible, linkCost, metricVia, newEntry, noteAdvertised } from './table.ts'
import type { Entry, Link, LinkId, Origin, Query, Route, RouterLimits, RouterOptions } from './types.ts'

/** Milliseconds, upstream's values unless said otherwise. Intervals on the wire are centiseconds. */
const UPDATE_EVERY = 300_000
const RETRACTED_HOLD = 6_000
/** Upstream says Hello every 20 s; asking more often is allowed, costs 14 bytes and finds dead paths sooner. */
const HELLO_EVERY = 1_000
/** A link that leaves Hellos unanswered this long is not used until it speaks. */
const SILENT_AFTER = 2_500
const SEQNO_BUMP_EVERY = 4_000
/** How long a request is remembered, so that copies over other paths are not passed on again. */
const REMEMBER_REQUEST = 15_000
/** A seqno request without an answer is repeated after this. */
const SEQNO_REPEAT = 2_000
const QUERY_TIMEOUT = 5_000
const QUERY_REPEAT = 1_000
const FORWARDED_QUERY = 15_000
const MAX_GENERATION = 16
const SEQNO_HOPS = 64
const REFRESH_BEFORE = 60_000
const BIG_CHANGE = 10
const SWEEP_EVERY = 1_000

const defaultLimits: RouterLimits = { subnets: 65_536, queries: 4_096, requestsPerSecond: 200 }

export type Router = ReturnType<typeof createRouter>

const subnetOfPrefix = (prefix: Prefix): Subnet | undefined =>
  prefix.length === 64 && isOverlay(Number.parseInt(prefix.bytes.slice(0, 2), 16)) ? prefix.bytes : undefined
const prefixOf = (subnet: Subnet): Prefix => ({ bytes: subnet, length: 64 })

/**
 * The Babel rules as a state machine without clock, network or randomness of its own: every call says what time it is,
 * every message leaves by `options.send`. RFC 8966 with upstream's changes (docs/formats/mycelium.md).
 */
export function createRouter(options: RouterOptions) {
  const limits = { ...defaultLimits, ...options.limits }
  const origins = new Map<Subnet, Origin>()
  const links = new Map<LinkId, Link>()
  const entries = new Map<Subnet, Entry>()
  const queries = new Map<Subnet, Query>()
  /** Seqno requests passed on lately, and who waits for the answer. */
  const seqnoRequests = new Map<string, { until: number; sentAt: number; seqno: number; waiting: Set<LinkId> }>()
  const counters = { filtered: 0, unfeasible: 0, tableFull: 0, requestsDropped: 0 }
  let announceAt = 0
  let sweepAt = 0

  const seqnoKey = (subnet: Subnet, routerId: RouterId) => `${subnet} ${routerId}`

  function update(subnet: Subnet, routerId: RouterId, seqno: number, metric: number): Message {
    return { type: 'update', interval: UPDATE_EVERY / 10, seqno, metric, prefix: prefixOf(subnet), routerId }
  }

  const announce = (origin: Origin, to: Iterable<LinkId>) => {
    for (const link of to) options.send(link, update(origin.subnet, origin.routerId, origin.seqno, 0))
  }

  /** Tells TO (all, when left out) what we now use for the entry: a metric, or that it is gone. */
  function advertise(entry: Entry, now: number, to: Iterable<LinkId> = links.keys()): void {
    const { selected } = entry
    const metric = selected ? metricVia(selected, links) : INFINITE
    // upstream retracts with its own router id; any id does, a retraction is about the neighbour and the subnet
    const routerId = selected?.routerId ?? anyRouterId()
    const seqno = selected?.seqno ?? 0
    let sent = false
    for (const link of to) {
      // the next hop could never use its own route back
      if (selected && link === selected.link) continue
      if (!sent && selected) noteAdvertised(entry, routerId, seqno, metric, now)
      sent = true
      options.send(link, update(entry.subnet, routerId, seqno, metric))
    }
  }
  const anyRouterId = (): RouterId => origins.values().next().value?.routerId ?? '0'.repeat(80)

  /** Chooses anew and tells the neighbours when it matters to them. */
  function reselect(entry: Entry, now: number, before = advertised(entry)): void {
    const old = entry.selected
    const best = bestRoute(entry, links)
    entry.selected = best
    if (best?.link !== old?.link || best?.routerId !== before.routerId) {
      entry.since = now
      options.onSelected?.(entry.subnet, best)
    }
    if (best) queries.delete(entry.subnet)
    else if (old) askFresher(entry, now)
    const metric = best ? metricVia(best, links) : INFINITE
    const changed =
      best?.routerId !== before.routerId ||
      (metric === INFINITE) !== (before.metric === INFINITE) ||
      Math.abs(metric - before.metric) > BIG_CHANGE
    if (changed) advertise(entry, now)
  }
  const advertised = (entry: Entry): { routerId: RouterId | undefined; metric: number } => ({
    routerId: entry.selected?.routerId,
    metric: entry.selected ? metricVia(entry.selected, links) : INFINITE,
  })

  /** All offers left are unfeasible: the owner must raise its seqno (RFC 8966 §3.8.2.1). */
  function askFresher(entry: Entry, now: number): void {
    for (const route of entry.routes.values()) {
      if (route.metric === INFINITE || links.get(route.link)?.silent !== false) continue
      requestSeqno(entry, route.routerId, route.link, now)
    }
  }

  function requestSeqno(entry: Entry, routerId: RouterId, link: LinkId, now: number, hops = SEQNO_HOPS): void {
    const source = entry.sources.get(routerId)
    if (!source) return
    rememberSeqno(entry.subnet, routerId, nextSeqno(source.seqno), now)
    options.send(link, {
      type: 'seqno-request',
      seqno: nextSeqno(source.seqno),
      hops,
      routerId,
      prefix: prefixOf(entry.subnet),
    })
  }

  /** False when the same was sent a moment ago: the answer will serve this asker too. */
  function rememberSeqno(subnet: Subnet, routerId: RouterId, seqno: number, now: number, waiting?: LinkId): boolean {
    const key = seqnoKey(subnet, routerId)
    const known = seqnoRequests.get(key)
    const same = known && known.until > now && !isNewer(seqno, known.seqno) ? known : undefined
    const set = same?.waiting ?? new Set<LinkId>()
    if (waiting !== undefined) set.add(waiting)
    if (same && now - same.sentAt < SEQNO_REPEAT) return false
    seqnoRequests.set(key, { until: now + REMEMBER_REQUEST, sentAt: now, seqno, waiting: set })
    return true
  }

  function receiveUpdate(link: LinkId, m: Extract<Message, { type: 'update' }>, now: number): void {
    const subnet = subnetOfPrefix(m.prefix)
    if (!subnet || origins.has(subnet) || (m.metric !== INFINITE && !options.owns(m.routerId, subnet))) {
      counters.filtered++
      return
    }
    let entry = entries.get(subnet)
    if (!entry) {
      if (m.metric === INFINITE) return
      if (entries.size >= limits.subnets) {
        counters.tableFull++
        return
      }
      entry = newEntry(subnet, now)
      entries.set(subnet, entry)
    }
    const before = advertised(entry)
    const route = entry.routes.get(link)
    const feasible = isFeasible(m, entry.sources.get(m.routerId))
    if (!feasible) counters.unfeasible++
    const hold = m.metric === INFINITE ? RETRACTED_HOLD : m.interval * 35
    if (!route) {
      if (m.metric === INFINITE) return
      const added = { link, routerId: m.routerId, seqno: m.seqno, metric: m.metric, expires: now + hold }
      // unfeasible offers are kept too: they are whom to ask for a fresher seqno
      entry.routes.set(link, added)
      if (!feasible && !entry.selected) requestSeqno(entry, m.routerId, link, now)
    } else {
      if (route.metric === INFINITE && m.metric === INFINITE) return
      const selected = entry.selected === route
      if (selected && !feasible && route.routerId === m.routerId) {
        requestSeqno(entry, m.routerId, link, now)
        return
      }
      // a retraction carries the id of whoever sends it
      if (m.metric !== INFINITE) {
        route.routerId = m.routerId
        route.seqno = m.seqno
      }
      route.metric = m.metric
      if (feasible) route.expires = now + hold
      if (!feasible && !selected && !entry.selected) requestSeqno(entry, m.routerId, link, now)
    }
    reselect(entry, now, before)
    answerWaiting(entry, m, now)
  }

  /** A seqno somebody asked us for has come: they hear of it although nothing else changed. */
  function answerWaiting(entry: Entry, m: { routerId: RouterId; seqno: number }, now: number): void {
    const key = seqnoKey(entry.subnet, m.routerId)
    const asked = seqnoRequests.get(key)
    if (!asked || isNewer(asked.seqno, m.seqno)) return
    seqnoRequests.delete(key)
    if (entry.selected?.routerId !== m.routerId || isNewer(asked.seqno, entry.selected.seqno)) return
    advertise(
      entry,
      now,
      [...asked.waiting].filter((link) => links.has(link)),
    )
  }

  /** Asks all neighbours but FROM. */
  function ask(subnet: Subnet, generation: number, from?: LinkId): void {
    for (const link of links.keys())
      if (link !== from) options.send(link, { type: 'route-request', generation, prefix: prefixOf(subnet) })
  }

  function receiveRouteRequest(link: Link, m: Extract<Message, { type: 'route-request' }>, now: number): void {
    if (link.allowance <= 0) {
      counters.requestsDropped++
      return
    }
    link.allowance--
    if (!m.prefix) {
      announceAll(link.id)
      for (const entry of entries.values()) if (entry.selected) advertise(entry, now, [link.id])
      return
    }
    const subnet = subnetOfPrefix(m.prefix)
    if (!subnet) return
    const origin = origins.get(subnet)
    if (origin) {
      announce(origin, [link.id])
      return
    }
    const entry = entries.get(subnet)
    if (entry?.selected) {
      advertise(entry, now, [link.id])
      return
    }
    if (m.generation + 1 >= MAX_GENERATION) return
    const query = queries.get(subnet)
    if (query && query.generation <= m.generation + 1) return
    if (!query && queries.size >= limits.queries) {
      counters.requestsDropped++
      return
    }
    const repeatAt = query?.repeatAt ?? Number.POSITIVE_INFINITY
    queries.set(subnet, { until: now + FORWARDED_QUERY, repeatAt, generation: m.generation + 1 })
    ask(subnet, m.generation + 1, link.id)
  }

  function receiveSeqnoRequest(link: Link, m: Extract<Message, { type: 'seqno-request' }>, now: number): void {
    if (link.allowance <= 0) {
      counters.requestsDropped++
      return
    }
    link.allowance--
    const subnet = subnetOfPrefix(m.prefix)
    if (!subnet) return
    const origin = origins.get(subnet)
    if (origin) {
      const wanted = origin.routerId === m.routerId && isNewer(m.seqno, origin.seqno)
      // too early for another: whoever starves asks again
      if (wanted && now - origin.bumpedAt < SEQNO_BUMP_EVERY) return
      if (wanted) {
        origin.seqno = nextSeqno(origin.seqno)
        origin.bumpedAt = now
      }
      announce(origin, wanted ? links.keys() : [link.id])
      return
    }
    const entry = entries.get(subnet)
    const selected = entry?.selected
    if (selected && (selected.routerId !== m.routerId || !isNewer(m.seqno, selected.seqno))) {
      advertise(entry, now, [link.id])
      return
    }
    if (!entry || m.hops < 2 || !rememberSeqno(subnet, m.routerId, m.seqno, now, link.id)) return
    const next = nextForSeqno(entry, m.routerId, link.id)
    if (next !== undefined) options.send(next, { ...m, hops: m.hops - 1 })
  }

  /** The neighbour most likely to reach the owner: the one in use, else any that offers a way. */
  function nextForSeqno(entry: Entry, routerId: RouterId, from: LinkId): LinkId | undefined {
    const { selected } = entry
    if (selected && selected.link !== from) return selected.link
    const offers = [...entry.routes.values()].filter(
      (r) => r.link !== from && r.metric !== INFINITE && r.routerId === routerId,
    )
    const source = entry.sources.get(routerId)
    offers.sort((a, b) => Number(isFeasible(b, source)) - Number(isFeasible(a, source)) || a.metric - b.metric)
    return offers[0]?.link
  }

  const announceAll = (link: LinkId) => {
    for (const origin of origins.values()) announce(origin, [link])
  }

  function sayHello(link: Link, now: number): void {
    link.helloSeqno = nextSeqno(link.helloSeqno)
    // one unanswered Hello is enough to know since when nothing came back
    if (link.helloAnswered) link.helloAt = now
    link.helloAnswered = false
    options.send(link.id, { type: 'hello', unicast: true, seqno: link.helloSeqno, interval: HELLO_EVERY / 10 })
  }

  function setSilent(link: Link, silent: boolean, now: number): void {
    if (link.silent === silent) return
    const before = new Map<Entry, ReturnType<typeof advertised>>()
    for (const entry of entries.values()) if (entry.routes.has(link.id)) before.set(entry, advertised(entry))
    link.silent = silent
    for (const [entry, was] of before) reselect(entry, now, was)
  }

  function sweep(now: number): void {
    for (const link of links.values()) {
      link.allowance = limits.requestsPerSecond
      if (!link.helloAnswered && now - link.helloAt > SILENT_AFTER) setSilent(link, true, now)
      sayHello(link, now)
    }
    for (const [key, request] of seqnoRequests) if (request.until <= now) seqnoRequests.delete(key)
    for (const [subnet, entry] of entries) {
      for (const route of entry.routes.values()) {
        if (route.expires > now) continue
        const before = advertised(entry)
        if (route.metric === INFINITE) entry.routes.delete(route.link)
        else {
          route.metric = INFINITE
          route.expires = now + RETRACTED_HOLD
        }
        if (entry.selected === route) reselect(entry, now, before)
      }
      if (!entry.selected && entry.routes.size > 0 && entry.askAfter <= now) {
        entry.askAfter = now + SEQNO_REPEAT
        askFresher(entry, now)
      }
      dropOldSources(entry, now)
      if (entry.routes.size === 0 && entry.sources.size === 0) entries.delete(subnet)
    }
    for (const [subnet, query] of queries) {
      if (query.until > now) continue
      queries.delete(subnet)
      options.onUnreachable?.(subnet)
    }
  }

  return {
    counters,
    links: links as ReadonlyMap<LinkId, Readonly<Link>>,
    entries: entries as ReadonlyMap<Subnet, Readonly<Entry>>,
    queries: queries as ReadonlyMap<Subnet, Readonly<Query>>,

    /** Announces a key's subnet from now on. */
    addOrigin(subnet: Subnet, routerId: RouterId, now: number): void {
      const origin: Origin = { subnet, routerId, seqno: 0, bumpedAt: now - SEQNO_BUMP_EVERY }
      origins.set(subnet, origin)
      announce(origin, links.keys())
    },

    linkUp(id: LinkId, cost: { base: number; rtt: number }, now: number): void {
      const link: Link = {
        ...cost,
        id,
        helloSeqno: 0xffff,
        helloAt: now,
        helloAnswered: true,
        silent: false,
        allowance: limits.requestsPerSecond,
      }
      links.set(id, link)
      announceAll(id)
      // what we are looking for may be behind the newcomer
      for (const [subnet, query] of queries) {
        const { generation } = query
        options.send(id, { type: 'route-request', generation, prefix: prefixOf(subnet) })
      }
      sayHello(link, now)
    },

    linkDown(id: LinkId, now: number): void {
      const affected: [Entry, ReturnType<typeof advertised>][] = []
      for (const entry of entries.values()) if (entry.routes.has(id)) affected.push([entry, advertised(entry)])
      links.delete(id)
      for (const [entry, before] of affected) {
        const selected = entry.selected?.link === id
        entry.routes.delete(id)
        if (selected) reselect(entry, now, before)
      }
    },

    receive(id: LinkId, message: Message, now: number): void {
      const link = links.get(id)
      if (!link) return
      if (link.silent) setSilent(link, false, now)
      switch (message.type) {
        case 'hello':
          options.send(id, { type: 'ihu', rxcost: linkCost(link), interval: (HELLO_EVERY * 3) / 10 })
          break
        case 'ihu': {
          if (link.helloAnswered) break
          link.helloAnswered = true
          link.rtt = (9 * link.rtt + now - link.helloAt) / 10
          break
        }
        case 'update':
          receiveUpdate(id, message, now)
          break
        case 'route-request':
          receiveRouteRequest(link, message, now)
          break
        case 'seqno-request':
          receiveSeqnoRequest(link, message, now)
          break
      }
    },

    /** Any bytes from a neighbour prove that it lives. */
    heard(id: LinkId, now: number): void {
      const link = links.get(id)
      if (link?.silent) setSilent(link, false, now)
    },

    /** The route to use for a packet; asks for a fresher one in time when it is about to expire. */
    lookup(subnet: Subnet, now: number): Route | undefined {
      const entry = entries.get(subnet)
      const route = entry?.selected
      if (!route) return undefined
      if (route.expires - now < REFRESH_BEFORE && entry.refreshAfter <= now) {
        entry.refreshAfter = now + QUERY_TIMEOUT
        ask(subnet, 0)
      }
      return route
    },

    isOwn: (subnet: Subnet): boolean => origins.has(subnet),

    /** Looks for a route: `onSelected` or, after a while, `onUnreachable` follows. False when too many are sought. */
    want(subnet: Subnet, now: number): boolean {
      const known = queries.get(subnet)
      if (known) {
        known.repeatAt = Math.min(known.repeatAt, now + QUERY_REPEAT)
        return true
      }
      if (queries.size >= limits.queries) return false
      queries.set(subnet, { until: now + QUERY_TIMEOUT, repeatAt: now + QUERY_REPEAT, generation: 0 })
      ask(subnet, 0)
      return true
    },

    /** Runs what is due; returns when to call again. */
    tick(now: number): number {
      if (now >= announceAt) {
        announceAt = now + UPDATE_EVERY
        for (const link of links.keys()) announceAll(link)
      }
      if (now >= sweepAt) {
        sweepAt = now + SWEEP_EVERY
        sweep(now)
      }
      let next = sweepAt
      for (const [subnet, query] of queries) {
        if (query.repeatAt <= now) {
          query.repeatAt = now + QUERY_REPEAT
          query.generation = 0
          ask(subnet, 0)
        }
        next = Math.min(next, query.repeatAt)
      }
      return next
    },
  }
}
