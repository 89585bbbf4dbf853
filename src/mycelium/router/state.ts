import { isOverlay, type Subnet } from '../address.ts'
import type { Message, Prefix, RouterId } from '../wire/control.ts'
import { INFINITE } from './numbers.ts'
import type { Entry, Link, LinkId, Origin, Query, RouterLimits, RouterOptions } from './types.ts'

/** Milliseconds, upstream's values unless said otherwise. Intervals on the wire are centiseconds. */
export const UPDATE_EVERY = 300_000
/** After this, then at each announcement, neighbours are asked for our own subnets: a route elsewhere means our key is there. */
export const ASK_OWN_AFTER = 35_000
export const RETRACTED_HOLD = 6_000
/** Upstream says Hello every 20 s; asking more often is allowed, costs 14 bytes and finds dead paths sooner. */
export const HELLO_EVERY = 1_000
/** A link that leaves Hellos unanswered this long, plus four round trips, is not used until it speaks. */
export const SILENT_AFTER = 1_500
/** A link that carried packets in the last ten seconds is asked this often, and suspected after this and four round trips. */
export const IN_USE = 10_000
export const HELLO_IN_USE = 300
export const SUSPECT_AFTER = 400
export const WATCH_EVERY = 100
export const SEQNO_BUMP_EVERY = 4_000
/** How long a request is remembered, so that copies over other paths are not passed on again. */
export const REMEMBER_REQUEST = 15_000
/** A seqno request without an answer is repeated after this. */
export const SEQNO_REPEAT = 2_000
export const QUERY_TIMEOUT = 5_000
export const QUERY_REPEAT = 1_000
export const FORWARDED_QUERY = 15_000
export const MAX_GENERATION = 16
export const SEQNO_HOPS = 64
export const REFRESH_BEFORE = 60_000
export const BIG_CHANGE = 10
export const SWEEP_EVERY = 1_000
/** A neighbour that announces itself unasked has done so by then. */
export const INTRODUCED_WITHIN = 500

const defaultLimits: RouterLimits = {
  subnets: 65_536,
  queries: 4_096,
  requestsPerSecond: 200,
  searchesPerSecond: 500,
  updatesPerSecond: 2_000,
}

export type SeqnoRequest = { until: number; sentAt: number; seqno: number; waiting: Set<LinkId> }

/** All a router knows. The files beside this one are what may happen to it. */
export type RouterState = {
  options: RouterOptions
  limits: RouterLimits
  origins: Map<Subnet, Origin>
  links: Map<LinkId, Link>
  entries: Map<Subnet, Entry>
  /** How many entries each host has, and how many of others it is charged with for having asked. */
  held: Map<string, number>
  asked: Map<string, number>
  queries: Map<Subnet, Query>
  /** Changes in order, the first one being number `first`; and whether somebody has not been told all of them. */
  news: { first: number; entries: Entry[]; isBehind: boolean }
  /** Seqno requests passed on lately, by subnet and router id, and who waits for the answer. */
  seqnoRequests: Map<string, SeqnoRequest>
  counters: { filtered: number; unfeasible: number; tableFull: number; requestsDropped: number }
  /** Searches left in this second. */
  searches: number
  announceAt: number
  askOwnAt: number | undefined
  sweepAt: number
  watchAt: number
}

export const newState = (options: RouterOptions, limits = { ...defaultLimits, ...options.limits }): RouterState => ({
  options,
  limits,
  searches: limits.searchesPerSecond,
  origins: new Map(),
  links: new Map(),
  entries: new Map(),
  held: new Map(),
  asked: new Map(),
  queries: new Map(),
  news: { first: 0, entries: [], isBehind: false },
  seqnoRequests: new Map(),
  counters: { filtered: 0, unfeasible: 0, tableFull: 0, requestsDropped: 0 },
  announceAt: 0,
  askOwnAt: undefined,
  sweepAt: 0,
  watchAt: 0,
})

/** The /64 inside 400::/7 a prefix is; others are not routed here. */
export const subnetOfPrefix = (prefix: Prefix): Subnet | undefined =>
  prefix.length === 64 && isOverlay(Number.parseInt(prefix.bytes.slice(0, 2), 16)) ? prefix.bytes : undefined

export const prefixOf = (subnet: Subnet): Prefix => ({ bytes: subnet, length: 64 })

export function updateMessage(subnet: Subnet, routerId: RouterId, seqno: number, metric: number): Message {
  return { type: 'update', interval: UPDATE_EVERY / 10, seqno, metric, prefix: prefixOf(subnet), routerId }
}

/** What neighbours were last told to expect of an entry. */
export type Told = { routerId: RouterId | undefined; metric: number }
export const unreachable: Told = { routerId: undefined, metric: INFINITE }
