import type { Subnet } from '../address.ts'
import type { Message, RouterId } from '../wire/control.ts'
import { announce, announceAll } from './advertise.ts'
import { tellNews } from './news.ts'
import { INFINITE } from './numbers.ts'
import { ask, askOwn, receiveRouteRequest, repeatQueries, want } from './queries.ts'
import { receiveSeqnoRequest } from './seqno.ts'
import {
  ASK_OWN_AFTER,
  HELLO_EVERY,
  newState,
  prefixOf,
  QUERY_TIMEOUT,
  REFRESH_BEFORE,
  type RouterState,
  SEQNO_BUMP_EVERY,
  SWEEP_EVERY,
  UPDATE_EVERY,
  updateMessage,
} from './state.ts'
import { linkCost } from './table.ts'
import type { Entry, Link, LinkId, Query, Route, RouterOptions } from './types.ts'
import { receiveUpdate } from './updates.ts'
import { hear, sayHello, silentAfter, sweep, watchLinks, withLink } from './upkeep.ts'

export type Router = ReturnType<typeof createRouter>

function receive(state: RouterState, link: Link, message: Message, now: number): void {
  switch (message.type) {
    case 'hello':
      state.options.send(link.id, { type: 'ihu', rxcost: linkCost(link), interval: (HELLO_EVERY * 3) / 10 })
      break
    case 'ihu':
      if (link.helloAnswered) break
      link.helloAnswered = true
      // a neighbour that was away and is back is not a slow one
      link.rtt = (9 * link.rtt + Math.min(now - link.helloAt, silentAfter(link))) / 10
      break
    case 'update':
      receiveUpdate(state, link, message, now)
      break
    default:
      if (link.allowance-- <= 0) state.counters.requestsDropped++
      else if (message.type === 'route-request') receiveRouteRequest(state, link, message, now)
      else receiveSeqnoRequest(state, link, message, now)
  }
}

/**
 * The Babel rules as a state machine without clock, network or randomness of its own: every call says what time it is
 * (milliseconds), every message leaves by `options.send`. RFC 8966 with upstream's changes (docs/formats/mycelium.md).
 */
export function createRouter(options: RouterOptions) {
  const state = newState(options)
  const { links, entries, queries } = state

  /** The route to use for a packet; asks for a fresher one in time when it is about to expire. */
  function lookup(subnet: Subnet, now: number): Route | undefined {
    const entry = entries.get(subnet)
    const route = entry?.selected
    if (!route) return undefined
    if (route.expires - now < REFRESH_BEFORE && entry.refreshAfter <= now) {
      entry.refreshAfter = now + QUERY_TIMEOUT
      ask(state, subnet, 0)
    }
    return route
  }

  return {
    counters: state.counters,
    links: links as ReadonlyMap<LinkId, Readonly<Link>>,
    entries: entries as ReadonlyMap<Subnet, Readonly<Entry>>,
    queries: queries as ReadonlyMap<Subnet, Readonly<Query>>,

    /** Announces a key's subnet from now on. */
    addOrigin(subnet: Subnet, routerId: RouterId, now: number): void {
      const origin = { subnet, routerId, seqno: 0, bumpedAt: now - SEQNO_BUMP_EVERY }
      state.origins.set(subnet, origin)
      announce(state, origin)
    },

    /** Retracts a subnet: nobody is sent here for it any more. */
    removeOrigin(subnet: Subnet): void {
      const origin = state.origins.get(subnet)
      if (!origin) return
      state.origins.delete(subnet)
      const message = updateMessage(subnet, origin.routerId, origin.seqno, INFINITE)
      for (const link of links.keys()) options.send(link, message)
    },

    isOwn: (subnet: Subnet): boolean => state.origins.has(subnet),

    linkUp(id: LinkId, to: { base: number; rtt: number; host?: string }, now: number): void {
      const link: Link = {
        host: `link ${id}`,
        ...to,
        id,
        helloSeqno: 0xffff,
        helloAt: now,
        helloAnswered: true,
        saidAt: now,
        heardAt: now,
        usedAt: Number.NEGATIVE_INFINITY,
        suspect: false,
        silent: false,
        upAt: now,
        introduced: false,
        allowance: state.limits.requestsPerSecond,
        updates: state.limits.updatesPerSecond,
        asked: 0,
        told: state.news.first + state.news.entries.length,
        dump: undefined,
      }
      links.set(id, link)
      announceAll(state, [id])
      // what we are looking for may be behind the newcomer
      for (const [subnet, { generation }] of queries)
        options.send(id, { type: 'route-request', generation, prefix: prefixOf(subnet) })
      sayHello(state, link, now)
    },

    linkDown(id: LinkId, now: number): void {
      const link = links.get(id)
      if (!link) return
      withLink(state, link, now, (affected) => {
        links.delete(id)
        for (const entry of affected) entry.routes.delete(id)
      })
      tellNews(state, now)
    },

    receive(id: LinkId, message: Message, now: number): void {
      const link = links.get(id)
      if (!link) return
      hear(state, link, now)
      receive(state, link, message, now)
      tellNews(state, now)
    },

    /** Any bytes from a neighbour prove that it lives. */
    heard(id: LinkId, now: number): void {
      const link = links.get(id)
      if (link) hear(state, link, now)
    },

    lookup,

    /** The same for a packet of somebody's connection: the link it takes is watched closely for a while. */
    use(subnet: Subnet, now: number): Route | undefined {
      const route = lookup(subnet, now)
      const link = route && links.get(route.link)
      if (link) link.usedAt = now
      return route
    },

    /**
     * Looks for a route, for a frame that came over FROM or for this node: `onSelected` or, after a while, `onUnreachable`
     * follows. False when too many are sought.
     */
    want: (subnet: Subnet, now: number, from?: LinkId): boolean =>
      want(state, subnet, now, from === undefined ? undefined : links.get(from)),

    /** Whether news waits for a neighbour to have room, or for the next second. */
    get isBehind(): boolean {
      return state.news.isBehind
    },
    /** Tells news that waited; true when something was sent. */
    tellNews: (now: number): boolean => tellNews(state, now),

    /** Runs what is due; returns when to call again. */
    tick(now: number): number {
      if (now >= state.announceAt) {
        state.announceAt = now + UPDATE_EVERY
        announceAll(state)
      }
      state.askOwnAt ??= now + ASK_OWN_AFTER
      if (now >= state.askOwnAt) {
        state.askOwnAt = now + UPDATE_EVERY
        askOwn(state)
      }
      if (now >= state.sweepAt) {
        state.sweepAt = now + SWEEP_EVERY
        sweep(state, now)
      }
      const next = Math.min(state.sweepAt, watchLinks(state, now), repeatQueries(state, now))
      tellNews(state, now)
      return next
    },
  }
}
