import type { Subnet } from '../address.ts'
import type { Message, RouterId } from '../wire/control.ts'

/** A connection, for as long as it lasts: never used again. */
export type LinkId = number

/** What this node announces: one per key. */
export type Origin = { subnet: Subnet; routerId: RouterId; seqno: number; bumpedAt: number }

/** What one neighbour said about one subnet. */
export type Route = {
  link: LinkId
  routerId: RouterId
  seqno: number
  /** As the neighbour advertised it: the cost of the link to it is not in here. */
  metric: number
  /** Milliseconds on the router's clock. */
  expires: number
}

/** The best we ever told others about a source (RFC 8966 §3.2.5): what makes later offers safe to accept. */
export type Source = { seqno: number; metric: number; expires: number }

export type Entry = {
  subnet: Subnet
  /** Who told of it first. */
  host: string
  routes: Map<LinkId, Route>
  selected: Route | undefined
  sources: Map<RouterId, Source>
  /** The host that asked for it and is charged with it, if one is. */
  asker: string | undefined
  /** When `selected` was last replaced. */
  since: number
  /** The number of its last change in the news. */
  changed: number
  /** No refresh is asked for before this time. */
  refreshAfter: number
  /** No fresher seqno is asked for before this time. */
  askAfter: number
}

export type Link = {
  id: LinkId
  /** Where the other end is; other links may lead there too, and later ones. */
  host: string
  /** Cost of the transport, before its round-trip time. */
  base: number
  /** Smoothed round-trip time in milliseconds. */
  rtt: number
  helloSeqno: number
  helloAt: number
  helloAnswered: boolean
  /** When the last Hello was said, when anything was last heard, and when a packet last took this link. */
  saidAt: number
  heardAt: number
  usedAt: number
  /** Said nothing for a moment while asked: other ways are preferred until it speaks again. */
  suspect: boolean
  /** Said nothing for too long while asked: its routes are not used until it speaks again. */
  silent: boolean
  /** Since when it is up, and whether it has announced anything, or was asked to. */
  upAt: number
  introduced: boolean
  /** How many requests it may still cause in this second: a flood of them must not multiply here. */
  allowance: number
  /** How many updates it may still be sent in this second, and how many seqnos it was asked for. */
  updates: number
  asked: number
  /** All news before this number was told, and what is left to be told of the table it asked for. */
  told: number
  dump: Iterator<Entry> | undefined
}

export type Query = {
  until: number
  /** Requests of our own are repeated; those of others are not. */
  repeatAt: number
  generation: number
  /** Whether this node asks for it itself, and what hosts do: a few of many. */
  own: boolean
  askers: string[]
}

export type RouterOptions = {
  send: (link: LinkId, message: Message) => void
  /** False while updates for LINK are to wait: `tellNews` is to be called once they need not. */
  hasRoom?: (link: LinkId) => boolean
  /** True when the key inside ROUTERID may announce SUBNET. */
  owns: (routerId: RouterId, subnet: Subnet) => boolean
  /** The selected next hop of SUBNET is another one, or none. */
  onSelected?: (subnet: Subnet, route: Route | undefined) => void
  /** Nobody answered a request for SUBNET in time. */
  onUnreachable?: (subnet: Subnet) => void
  /** Another node announces SUBNET, which is one of this one's: it has the same key, or is this one before it was started anew. */
  onClash?: (subnet: Subnet, link: LinkId) => void
  limits?: Partial<RouterLimits>
}

export type RouterLimits = {
  subnets: number
  queries: number
  requestsPerSecond: number
  /** New searches of this node, whoever's packets cause them. */
  searchesPerSecond: number
  /** Sent to one neighbour. */
  updatesPerSecond: number
}
