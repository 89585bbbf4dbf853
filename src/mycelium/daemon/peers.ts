import { ZosError } from '#codec'
import { acceptTcp, closeFd, connectError, connectTcp, errnoMessage, listenTcp, tcpRtt } from '#sys'
import { type Endpoint, formatEndpoint } from '../endpoint.ts'
import { type Connection, type ConnectionEvents, createConnection } from './connection.ts'
import { READABLE, type Reactor, type Watch, WRITABLE } from './reactor.ts'

/** Dialling again waits this long, doubled each time. Milliseconds. */
const FIRST_RETRY = 100
const LAST_RETRY = 1_000
const CONNECT_TIMEOUT = 5_000
/** A connection that lasted this long was a good one: the next attempt comes at once. */
const GOOD_AFTER = 10_000
const MAX_INBOUND = 512

export type PeerState = 'up' | 'connecting' | 'down'
export type PeerStatus = {
  endpoint: string
  direction: 'out' | 'in'
  state: PeerState
  /** Milliseconds, null while unknown. */
  rtt: number | null
  /** When the state began, ISO 8601. */
  since: string
  lastError: string | null
  bytesIn: number
  bytesOut: number
  /** Packets that found this peer's queue full. */
  dropped: number
}

type Peer = {
  endpoint: Endpoint
  name: string
  state: PeerState
  since: number
  lastError: string | null
  retry: number
  dialAt: number
  dialing: Watch | undefined
  connection: Connection | undefined
}

export type PeersEvents = Omit<ConnectionEvents, 'closed'> & {
  up: (connection: Connection, rtt: number, endpoint: Endpoint) => void
  down: (connection: Connection, reason: string) => void
}

export function createPeers(reactor: Reactor, events: PeersEvents, rttOf: (id: number) => number | null) {
  const outbound: Peer[] = []
  const inbound = new Map<Connection, number>()
  const connections = new Map<number, Connection>()
  let nextId = 1

  function open(fd: number, endpoint: Endpoint, closed: (reason: string) => void): Connection {
    const connection = createConnection(reactor, fd, nextId++, formatEndpoint(endpoint), {
      ...events,
      closed(one, reason) {
        connections.delete(one.id)
        events.down(one, reason)
        closed(reason)
      },
    })
    connections.set(connection.id, connection)
    events.up(connection, tcpRtt(fd), endpoint)
    return connection
  }

  function setState(peer: Peer, state: PeerState): void {
    if (peer.state === state) return
    peer.state = state
    peer.since = Date.now()
  }

  function failed(peer: Peer, reason: string, now: number): void {
    peer.lastError = reason
    setState(peer, 'down')
    peer.dialAt = now + peer.retry
    peer.retry = Math.min(peer.retry * 2, LAST_RETRY)
  }

  function dial(peer: Peer, now: number): void {
    const fd = connectTcp(peer.endpoint)
    if (fd < 0) {
      failed(peer, `connecting failed: ${errnoMessage(fd)}`, now)
      return
    }
    setState(peer, 'connecting')
    peer.dialAt = now + CONNECT_TIMEOUT
    const watch = reactor.watch(fd, WRITABLE, () => connected(peer, watch))
    peer.dialing = watch
  }

  function connected(peer: Peer, watch: Watch): void {
    const code = connectError(watch.fd)
    peer.dialing = undefined
    if (code !== 0) {
      reactor.close(watch)
      failed(peer, `connecting failed: ${errnoMessage(code)}`, performance.now())
      return
    }
    reactor.release(watch)
    const begun = performance.now()
    setState(peer, 'up')
    peer.connection = open(watch.fd, peer.endpoint, (reason) => {
      peer.connection = undefined
      const now = performance.now()
      if (now - begun > GOOD_AFTER) peer.retry = FIRST_RETRY
      failed(peer, reason, now)
    })
  }

  function accept(listener: number): void {
    for (let i = 0; i < 16; i++) {
      const accepted = acceptTcp(listener)
      if (!accepted) return
      if (inbound.size >= MAX_INBOUND) {
        events.fault('too-many-inbound')
        closeFd(accepted.fd)
        continue
      }
      const connection = open(accepted.fd, { scheme: 'tcp', ...accepted.peer }, () => inbound.delete(connection))
      inbound.set(connection, Date.now())
    }
  }

  const status = (connection: Connection | undefined) => ({
    rtt: connection ? rttOf(connection.id) : null,
    bytesIn: connection?.stats.bytesIn ?? 0,
    bytesOut: connection?.stats.bytesOut ?? 0,
    dropped: connection?.stats.dropped ?? 0,
  })

  return {
    connections: connections as ReadonlyMap<number, Connection>,

    listen(endpoint: Endpoint): void {
      const fd = listenTcp(endpoint)
      if (fd < 0)
        throw new ZosError(
          `Listen on "${formatEndpoint(endpoint)}": ${errnoMessage(fd)}; give another address or port with --listen`,
          { code: 'listen-failed', kind: 'node', details: { errno: -fd } },
        )
      reactor.watch(fd, READABLE, () => accept(fd))
    },

    /** Takes over a connection made elsewhere. */
    adopt: (fd: number, endpoint: Endpoint): Connection => open(fd, endpoint, () => {}),

    /** Keeps a connection to ENDPOINT for as long as this runs. */
    add(endpoint: Endpoint): void {
      const name = formatEndpoint(endpoint)
      if (outbound.some((peer) => peer.name === name)) return
      outbound.push({
        endpoint,
        name,
        state: 'down',
        since: Date.now(),
        lastError: null,
        retry: FIRST_RETRY,
        dialAt: 0,
        dialing: undefined,
        connection: undefined,
      })
    },

    /** Dials and gives up what is due; returns when to call again. */
    tick(now: number): number {
      let next = now + 1_000
      for (const peer of outbound) {
        if (peer.connection) continue
        if (peer.dialAt <= now) {
          if (peer.dialing) {
            reactor.close(peer.dialing)
            peer.dialing = undefined
            failed(peer, `connecting failed: no answer within ${CONNECT_TIMEOUT / 1000} s`, now)
          } else dial(peer, now)
        }
        next = Math.min(next, peer.dialAt)
      }
      for (const connection of connections.values()) connection.check(now)
      return next
    },

    /** Sends what has gathered: once per turn, so that frames share system calls. */
    flush(): void {
      for (const connection of connections.values()) connection.settle()
    },

    status(): PeerStatus[] {
      return [
        ...outbound.map((peer) => ({
          endpoint: peer.name,
          direction: 'out' as const,
          state: peer.state,
          since: new Date(peer.since).toISOString(),
          lastError: peer.lastError,
          ...status(peer.connection),
        })),
        ...[...inbound].map(([connection, since]) => ({
          endpoint: connection.endpoint,
          direction: 'in' as const,
          state: 'up' as const,
          since: new Date(since).toISOString(),
          lastError: null,
          ...status(connection),
        })),
      ]
    },
  }
}

export type Peers = ReturnType<typeof createPeers>
