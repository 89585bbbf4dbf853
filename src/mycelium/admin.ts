import { ZosError } from '#codec'
import type { Handler } from '#sys'
import { formatSubnet, parseOverlayAddress, subnetOf } from './address.ts'
import type { Daemon } from './daemon/daemon.ts'
import type { PeerStatus } from './daemon/peers.ts'
import type { RouteStatus } from './daemon/route-status.ts'
import { parseEndpoint } from './endpoint.ts'
import { INFINITE } from './router/numbers.ts'

const STATES = { up: 'alive', connecting: 'connecting', down: 'dead' } as const

const secondsSince = (time: string): number => Math.floor((Date.now() - Date.parse(time)) / 1000)

/** A peer as the public daemon describes it: which way bytes went is seen from here. */
function peerInfo({ endpoint, direction, discovered, state, bytesIn, bytesOut, knownSince, lastUp }: PeerStatus) {
  const [proto, socket] = endpoint.split('://') as [string, string]
  return {
    endpoint: { proto, addr: { socket } },
    type: direction === 'in' ? 'inbound' : discovered ? 'linkLocalDiscovery' : 'static',
    connectionState: STATES[state],
    txBytes: bytesOut,
    rxBytes: bytesIn,
    discovered: secondsSince(knownSince),
    lastConnected: lastUp === null ? null : secondsSince(lastUp),
  }
}

const routeInfo = ({ subnet, via, metric, seqno }: RouteStatus) => ({
  subnet,
  nextHop: via,
  metric: metric >= INFINITE ? 'infinite' : metric,
  seqno,
})

const absent = (message: string): ZosError => new ZosError(message, { code: 'not-found' })

/** The calls under /api/v1/admin and /api/v1/pubkey that the public daemon's HTTP API has and ours can answer. */
export function adminCalls(daemon: Daemon): Record<string, Handler> {
  const routes = async (selected: boolean) =>
    (await daemon.routes()).filter((route) => route.selected === selected).map(routeInfo)
  return {
    'GET /api/v1/admin': async () => {
      const { subnet, address, publicKey, since } = (await daemon.status()) as Record<string, string>
      const nodeStartTime = Math.floor(Date.parse(since!) / 1000)
      return { nodeSubnet: subnet, nodeIp: address, nodePubkey: publicKey, nodeStartTime }
    },
    'GET /api/v1/admin/peers': async () => (await daemon.peers()).map(peerInfo),
    'POST /api/v1/admin/peers': async ({ body }) => {
      const text = String((body as { endpoint?: unknown } | null)?.endpoint)
      if (!(await daemon.addPeer(parseEndpoint(text))))
        throw new ZosError(`Add peer "${text}": it is dialled already`, { code: 'exists' })
    },
    'DELETE /api/v1/admin/peers/:endpoint': async ({ params }) => {
      if (!(await daemon.removePeer(params.endpoint!))) throw absent(`Remove peer "${params.endpoint}": there is none`)
    },
    'GET /api/v1/admin/routes/selected': () => routes(true),
    'GET /api/v1/admin/routes/fallback': () => routes(false),
    'GET /api/v1/admin/routes/queried': async () =>
      (await daemon.queried()).map(({ subnet, expiresIn }) => ({ subnet, expiration: String(expiresIn) })),
    'GET /api/v1/pubkey/:ip': async ({ params }) => {
      const subnet = formatSubnet(subnetOf(parseOverlayAddress(params.ip!)))
      const own = (await daemon.status()) as { identities: { subnet: string; publicKey: string }[] }
      const known = [...own.identities, ...(await daemon.routes())].find((one) => one.subnet === subnet)
      if (!known) throw absent(`Find the key of ${params.ip}: no route leads there`)
      return { publicKey: known.publicKey }
    },
  }
}
