import type { Subnet } from '../address.ts'
import type { Message } from '../wire/control.ts'
import { advertise, announce, announceAll } from './advertise.ts'
import {
  FORWARDED_QUERY,
  MAX_GENERATION,
  prefixOf,
  QUERY_REPEAT,
  QUERY_TIMEOUT,
  type RouterState,
  subnetOfPrefix,
} from './state.ts'
import type { Link, LinkId, Query } from './types.ts'

/** Routes on demand: since 0.6 upstream knows far nodes only once somebody asks for them. */

/** Asks all neighbours but FROM. */
export function ask(state: RouterState, subnet: Subnet, generation: number, from?: LinkId): void {
  for (const link of state.links.keys())
    if (link !== from) state.options.send(link, { type: 'route-request', generation, prefix: prefixOf(subnet) })
}

/** Whether neighbours have another way to what is ours than to us; none of them asks further. */
export function askOwn(state: RouterState): void {
  for (const subnet of state.origins.keys()) ask(state, subnet, MAX_GENERATION - 1)
}

const MOST_ASKERS = 4

function addAsker(query: Query, host: string): void {
  if (query.askers.length < MOST_ASKERS && !query.askers.includes(host)) query.askers.push(host)
}

/** Looks for a route, for this node itself or for a frame that came over FROM; false when too many are sought already. */
export function want(state: RouterState, subnet: Subnet, now: number, from?: Link): boolean {
  const known = state.queries.get(subnet)
  if (known) {
    if (from) addAsker(known, from.host)
    else known.own = true
    known.repeatAt = Math.min(known.repeatAt, now + QUERY_REPEAT)
    return true
  }
  if (state.queries.size >= state.limits.queries || state.searches <= 0) return false
  if (from && from.allowance-- <= 0) {
    state.counters.requestsDropped++
    return false
  }
  state.searches--
  state.queries.set(subnet, {
    until: now + QUERY_TIMEOUT,
    repeatAt: now + QUERY_REPEAT,
    generation: 0,
    own: from === undefined,
    askers: from ? [from.host] : [],
  })
  ask(state, subnet, 0)
  return true
}

/** Repeats requests of our own; returns when the next is due. */
export function repeatQueries(state: RouterState, now: number): number {
  let next = Number.POSITIVE_INFINITY
  for (const [subnet, query] of state.queries) {
    if (query.repeatAt <= now) {
      query.repeatAt = now + QUERY_REPEAT
      query.generation = 0
      ask(state, subnet, 0)
    }
    next = Math.min(next, query.repeatAt)
  }
  return next
}

type Request = Extract<Message, { type: 'route-request' }>

export function receiveRouteRequest(state: RouterState, link: Link, m: Request, now: number): void {
  if (!m.prefix) {
    // who asks again meanwhile is being told
    if (link.dump) return
    announceAll(state, [link.id])
    link.dump = state.entries.values()
    state.news.isBehind = true
    return
  }
  const subnet = subnetOfPrefix(m.prefix)
  if (!subnet) return
  const origin = state.origins.get(subnet)
  const entry = state.entries.get(subnet)
  if (origin) announce(state, origin, [link.id])
  else if (entry?.selected) advertise(state, entry, now, [link.id])
  else passOn(state, subnet, m.generation + 1, link, now)
}

/** The answer will be a new route, of which all neighbours hear: who asked need not be remembered. */
function passOn(state: RouterState, subnet: Subnet, generation: number, from: Link, now: number): void {
  if (generation >= MAX_GENERATION) return
  const query = state.queries.get(subnet)
  if (query) addAsker(query, from.host)
  if (query && query.generation <= generation) return
  if (!query && state.queries.size >= state.limits.queries) {
    state.counters.requestsDropped++
    return
  }
  const repeatAt = query?.repeatAt ?? Number.POSITIVE_INFINITY
  const { own, askers } = query ?? { own: false, askers: [from.host] }
  state.queries.set(subnet, { until: now + FORWARDED_QUERY, repeatAt, generation, own, askers })
  ask(state, subnet, generation, from.id)
}
