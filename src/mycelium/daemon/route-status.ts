import { formatSubnet } from '../address.ts'
import type { Router } from '../router/router.ts'
import { metricVia } from '../router/table.ts'
import type { Peers } from './peers.ts'
import type { Plane } from './plane.ts'

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
}

/** Every route that is known now, selected or not. */
export function routeStatuses(router: Router, plane: Plane, peers: Peers): RouteStatus[] {
  const now = performance.now()
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
    })),
  )
}
