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
import type { Link, LinkId } from './types.ts'

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

/** Looks for a route; false when too many are sought already. */
export function want(state: RouterState, subnet: Subnet, now: number): boolean {
  const known = state.queries.get(subnet)
  if (known) {
    known.asker = undefined
    known.repeatAt = Math.min(known.repeatAt, now + QUERY_REPEAT)
    return true
  }
  if (state.queries.size >= state.limits.queries || state.searches <= 0) return false
  state.searches--
  state.queries.set(subnet, {
    until: now + QUERY_TIMEOUT,
    repeatAt: now + QUERY_REPEAT,
    generation: 0,
    asker: undefined,
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
    announceAll(state, [link.id])
    for (const entry of state.entries.values()) if (entry.selected) advertise(state, entry, now, [link.id])
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
  if (query && query.asker !== from.host) query.asker = undefined
  if (query && query.generation <= generation) return
  if (!query && state.queries.size >= state.limits.queries) {
    state.counters.requestsDropped++
    return
  }
  const repeatAt = query?.repeatAt ?? Number.POSITIVE_INFINITY
  const asker = query ? query.asker : from.host
  state.queries.set(subnet, { until: now + FORWARDED_QUERY, repeatAt, generation, asker })
  ask(state, subnet, generation, from.id)
}
