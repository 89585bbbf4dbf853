import { formatSubnet, type Subnet } from '../address.ts'
import type { Router } from '../router/router.ts'
import { metricVia } from '../router/table.ts'
import type { Peers } from './peers.ts'
import type { Plane } from './plane.ts'
import type { Unreached } from './unreached.ts'

export type RouteStatus = {
  subnet: string
  /** The peer packets go to. */
  via: string
  metric: number
  seqno: number
  selected: boolean
  publicKey: string
  /** How this node's own packets to it are sealed: none while nothing was sent. */
  sealing: 'session' | 'legacy' | 'none'
  /** Seconds this has been the selected route; null when it is not. */
  age: number | null
  expiresIn: number
  /** Why packets of this node to it failed the last time, and how many seconds ago; null when none did. */
  lastError: string | null
  lastErrorAge: number | null
}

/** Every route that is known now, selected or not. */
export function routeStatuses(router: Router, plane: Plane, peers: Peers): RouteStatus[] {
  const now = performance.now()
  const ago = (at: number | undefined) => (at === undefined ? null : Math.round((now - at) / 1000))
  return [...router.entries.values()].flatMap((entry) =>
    [...entry.routes.values()].map((route) => ({
      subnet: formatSubnet(entry.subnet),
      via: peers.connections.get(route.link)?.endpoint ?? 'gone',
      metric: metricVia(route, router.links),
      seqno: route.seqno,
      selected: route === entry.selected,
      publicKey: route.routerId.slice(0, 64),
      sealing: plane.node.remotes.known.get(entry.subnet)?.sealing ?? 'none',
      age: route === entry.selected ? Math.round((now - entry.since) / 1000) : null,
      expiresIn: Math.max(0, Math.round((route.expires - now) / 1000)),
      lastError: plane.unreached.get(entry.subnet)?.error ?? null,
      lastErrorAge: ago(plane.unreached.get(entry.subnet)?.at),
    })),
  )
}

/** Subnets that a route is being sought to, and for how many seconds more. */
export function queriedStatuses(router: Pick<Router, 'queries'>): { subnet: string; expiresIn: number }[] {
  const now = performance.now()
  return [...router.queries].map(([subnet, { until }]) => ({
    subnet: formatSubnet(subnet),
    expiresIn: Math.max(0, Math.round((until - now) / 1000)),
  }))
}

/** AGE in seconds. */
export type UnreachedStatus = { subnet: string; error: string; age: number }

/** Of destinations without a route so many are named: who scans a range makes more than anybody reads. */
const NAMED = 20

/** Destinations that packets of this node did not reach and that have no route now, newest first, and how many more. */
export function unreachedStatuses(
  router: Pick<Router, 'entries'>,
  last: ReadonlyMap<Subnet, Unreached>,
  now: number,
): { unreached: UnreachedStatus[]; unreachedMore: number } {
  const all = [...last].filter(([subnet]) => !router.entries.get(subnet)?.selected).reverse()
  const unreached = all.slice(0, NAMED).map(([subnet, { error, at }]) => {
    return { subnet: formatSubnet(subnet), error, age: Math.round((now - at) / 1000) }
  })
  return { unreached, unreachedMore: all.length - unreached.length }
}
