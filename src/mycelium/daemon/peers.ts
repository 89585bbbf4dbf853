import { ZosError } from '#codec'
import { acceptTcp, closeFd, EAGAIN, errnoMessage, ipv6Bytes, listenTcp, type SocketAddress, tcpRtt } from '#sys'
import { type Endpoint, formatEndpoint } from '../endpoint.ts'
import { type Connection, type ConnectionEvents, createConnection, SILENCE_OF_DIALLED } from './connection.ts'
import { createDialling, type Secure } from './dialling.ts'
import { READABLE, type Reactor, type Watch } from './reactor.ts'

const MAX_INBOUND = 512
/** Of a private network: handshakes under way, in all and of one host. They are strangers still, so no peer gives way to them. */
const MAX_SECURING = 512
const MAX_SECURING_OF_HOST = 8

export type PeerState = 'up' | 'connecting' | 'down'
export type PeerStatus = {
  endpoint: string
  direction: 'out' | 'in'
  /** True when nobody named it: it was found on a local link. */
  discovered: boolean
  state: PeerState
  /** Milliseconds, null while unknown. */
  rtt: number | null
  /** When the state began, ISO 8601. */
  since: string
  /** When it was named, found or dialled us, and when a connection stood last; null: never. */
  knownSince: string
  lastUp: string | null
  lastError: string | null
  bytesIn: number
  bytesOut: number
  /** Packets that found this peer's queue full. */
  dropped: number
}

export type PeersEvents = Omit<ConnectionEvents, 'closed'> & {
  up: (connection: Connection, rtt: number, endpoint: Endpoint) => void
  down: (connection: Connection, reason: string) => void
  /** In a private network. */
  secure?: Secure
}

const sameHost = (a: SocketAddress, b: SocketAddress): boolean =>
  a.scope === b.scope && (a.ip === b.ip || (ipv6Bytes(a.ip)?.equals(ipv6Bytes(b.ip) ?? Buffer.alloc(0)) ?? false))

/** What counts as one host: an IPv4 address; a /64, all of which an IPv6 host can use; on a link of ours, the address itself. */
export function hostOf({ ip, scope }: SocketAddress): string {
  const bytes = ipv6Bytes(ip)
  if (!bytes) return ip
  return scope ? `${scope} ${ip}` : bytes.toString('latin1', 0, 8)
}

export function createPeers(reactor: Reactor, events: PeersEvents, rttOf: (id: number) => number | null) {
  const inbound = new Map<Connection, { since: number; endpoint: Endpoint }>()
  const connections = new Map<number, Connection>()
  const { secure } = events
  let nextId = 1
  /** Inbound connections whose TLS handshake is under way, by host. */
  const securing = new Map<string, number>()
  let securingAll = 0
  const listeners: Watch[] = []

  function open(
    fd: number,
    endpoint: Endpoint,
    rtt: number,
    closed: (reason: string) => void,
    silence?: number,
  ): Connection {
    const hooks: ConnectionEvents = {
      ...events,
      closed(one, reason) {
        connections.delete(one.id)
        events.down(one, reason)
        closed(reason)
      },
    }
    const connection = createConnection(reactor, fd, nextId++, formatEndpoint(endpoint), hooks, silence)
    connections.set(connection.id, connection)
    events.up(connection, rtt, endpoint)
    return connection
  }

  const isConnected = (address: SocketAddress): boolean =>
    [...inbound.values()].some(({ endpoint }) => sameHost(endpoint, address))
  const dialling = createDialling(reactor, {
    open: (fd, endpoint, rtt, closed) => open(fd, endpoint, rtt, closed, SILENCE_OF_DIALLED),
    secure,
    isConnected,
  })

  /** All places are taken: the host with most of them loses its latest, unless NEWCOMER's would then have as many. */
  function makeRoom(newcomer: SocketAddress): boolean {
    const held = new Map<string, Connection[]>()
    for (const [connection, { endpoint }] of inbound) {
      const host = hostOf(endpoint)
      const those = held.get(host)
      if (those) those.push(connection)
      else held.set(host, [connection])
    }
    const most = [...held.values()].reduce((a, b) => (b.length > a.length ? b : a), [])
    if (most.length <= (held.get(hostOf(newcomer))?.length ?? 0) + 1) return false
    most.at(-1)!.close('others had no place left')
    return true
  }

  function accept(listener: Watch): void {
    for (let i = 0; i < 16; i++) {
      const accepted = acceptTcp(listener.fd)
      if (typeof accepted === 'number') {
        // most likely no descriptor is left: the listener is not polled until the next tick, or this thread would spin
        if (accepted !== -EAGAIN) {
          events.fault('not-accepted')
          listener.events = 0
        }
        return
      }
      if (secure) handshake(accepted.fd, accepted.peer, secure)
      else welcome(accepted.fd, { scheme: 'tcp', ...accepted.peer }, tcpRtt(accepted.fd))
    }
  }

  function handshake(fd: number, peer: SocketAddress, secure: Secure): void {
    const host = hostOf(peer)
    const under = securing.get(host) ?? 0
    if (under >= MAX_SECURING_OF_HOST || securingAll >= MAX_SECURING) {
      events.fault('too-many-handshakes')
      closeFd(fd)
      return
    }
    const rtt = tcpRtt(fd)
    securing.set(host, under + 1)
    securingAll++
    secure(fd, false, (plain) => {
      securingAll--
      const left = securing.get(host)! - 1
      if (left > 0) securing.set(host, left)
      else securing.delete(host)
      if (plain < 0) events.fault('not-of-this-network')
      else welcome(plain, { scheme: 'tls', ...peer }, rtt)
    })
  }

  function welcome(fd: number, endpoint: Endpoint, rtt: number): void {
    if (inbound.size >= MAX_INBOUND) {
      events.fault('too-many-inbound')
      if (!makeRoom(endpoint)) {
        closeFd(fd)
        return
      }
    }
    const connection = open(fd, endpoint, rtt, () => inbound.delete(connection))
    inbound.set(connection, { since: Date.now(), endpoint })
  }

  const status = (connection: Connection | undefined) => ({
    rtt: connection ? rttOf(connection.id) : null,
    bytesIn: connection?.stats.bytesIn ?? 0,
    bytesOut: connection?.stats.bytesOut ?? 0,
    dropped: connection?.stats.dropped ?? 0,
  })

  return {
    connections: connections as ReadonlyMap<number, Connection>,
    add: dialling.add,
    found: dialling.found,

    /** Ends the connection to the peer NAME, whoever dialled; false when there is none. */
    remove(name: string): boolean {
      if (dialling.remove(name)) return true
      const one = [...inbound.keys()].find(({ endpoint }) => endpoint === name)
      one?.close('it was removed')
      return one !== undefined
    },

    /** Takes the address at once, or throws; connections are accepted from the moment the returned function is called. */
    listen(endpoint: Endpoint): () => void {
      const fd = listenTcp(endpoint)
      if (fd < 0)
        throw new ZosError(
          `Listen on "${formatEndpoint(endpoint)}": ${errnoMessage(fd)}; give another address or port with --listen`,
          { code: 'listen-failed', kind: 'node', details: { errno: -fd } },
        )
      return () => {
        const watch = reactor.watch(fd, READABLE, () => accept(watch))
        listeners.push(watch)
      }
    },

    /** Takes over a connection made elsewhere. */
    adopt: (fd: number, endpoint: Endpoint): Connection => open(fd, endpoint, 0, () => {}),

    /** Dials and gives up what is due; returns when to call again. */
    tick(now: number): number {
      const next = dialling.tick(now)
      for (const connection of connections.values()) connection.check(now)
      for (const listener of listeners) listener.events = READABLE
      return next
    },

    /** Sends what has gathered: once per turn, so that frames share system calls. */
    flush(): void {
      for (const connection of connections.values()) connection.settle()
    },

    status(): PeerStatus[] {
      return [
        ...[...dialling.peers.values()].map((peer) => ({
          endpoint: peer.name,
          direction: 'out' as const,
          discovered: peer.found,
          state: peer.state,
          since: new Date(peer.since).toISOString(),
          knownSince: new Date(peer.knownSince).toISOString(),
          lastUp: peer.lastUp === undefined ? null : new Date(peer.lastUp).toISOString(),
          lastError: peer.lastError,
          ...status(peer.connection),
        })),
        ...[...inbound].map(([connection, { since }]) => ({
          endpoint: connection.endpoint,
          direction: 'in' as const,
          discovered: false,
          state: 'up' as const,
          since: new Date(since).toISOString(),
          knownSince: new Date(since).toISOString(),
          lastUp: new Date(since).toISOString(),
          lastError: null,
          ...status(connection),
        })),
      ]
    },
  }
}

export type Peers = ReturnType<typeof createPeers>
