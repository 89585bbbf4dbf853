import { closeFd, connectError, connectTcp, type SocketAddress, tcpRtt } from '#sys'
import { type Endpoint, formatEndpoint } from '../endpoint.ts'
import type { Connection } from './connection.ts'
import type { PeerState } from './peers.ts'
import { type Reactor, type Watch, WRITABLE } from './reactor.ts'
import { noAnswer, reasonFor } from './reasons.ts'

/**
 * Dialling again waits this long, doubled each time and less or more by a quarter, so that nodes started together do not
 * stay in step. A node may be a moment late: at first the pauses stay short. Milliseconds.
 */
const FIRST_RETRY = 50
const LAST_EARLY_RETRY = 200
const EARLY = 10_000
const LAST_RETRY = 1_000
const CONNECT_TIMEOUT = 5_000
/** A connection that lasted this long was a good one: the next attempt comes at once. */
const GOOD_AFTER = 10_000
/** Peers that were not named but found on a local link: how many, and after how long without a connection they are forgotten. */
const MAX_FOUND = 64
const FOUND_PATIENCE = 15_000

type Peer = {
  endpoint: Endpoint
  name: string
  /** It announced itself on a local link, nobody named it; forgotten when it does not answer. */
  found: boolean
  state: PeerState
  since: number
  /** Unix milliseconds: when it was named or found, and when a connection stood last; undefined: never. */
  knownSince: number
  lastUp: number | undefined
  lastError: string | null
  /** When a connection to it last stood, or when it was last named or found. */
  goodAt: number
  retry: number
  earlyUntil: number
  dialAt: number
  dialing: Watch | undefined
  /** Its TLS handshake is under way. */
  securing: boolean
  connection: Connection | undefined
}

/** What takes a TCP connection over and, once both sides have shown the key, gives DONE a plain socket, or a reason. */
export type Secure = (fd: number, client: boolean, done: (fd: number, reason: string) => void) => void

export type DiallingHooks = {
  open: (fd: number, endpoint: Endpoint, rtt: number, closed: (reason: string) => void) => Connection
  secure: Secure | undefined
  /** True when there is a connection from that address already. */
  isConnected: (address: SocketAddress) => boolean
}

/** Keeps a connection to each peer it is told of. */
export function createDialling(reactor: Reactor, { open, secure, isConnected }: DiallingHooks) {
  const peers = new Map<string, Peer>()

  function setState(peer: Peer, state: PeerState): void {
    if (peer.state === state) return
    peer.state = state
    peer.since = Date.now()
  }

  function failed(peer: Peer, reason: string, now: number): void {
    peer.lastError = reason
    setState(peer, 'down')
    if (peer.found && now - peer.goodAt > FOUND_PATIENCE) peers.delete(peer.name)
    peer.dialAt = now + peer.retry * (0.75 + Math.random() / 2)
    peer.retry = Math.min(peer.retry * 2, now < peer.earlyUntil ? LAST_EARLY_RETRY : LAST_RETRY)
  }

  function dial(peer: Peer, now: number): void {
    // it found us as well and was quicker: one connection is enough
    if (peer.found && isConnected(peer.endpoint)) {
      peers.delete(peer.name)
      return
    }
    const fd = connectTcp(peer.endpoint)
    if (fd < 0) {
      failed(peer, `connecting failed: ${reasonFor(fd)}`, now)
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
      failed(peer, `connecting failed: ${reasonFor(code)}`, performance.now())
      return
    }
    reactor.release(watch)
    const rtt = tcpRtt(watch.fd)
    if (!secure) {
      up(peer, watch.fd, rtt)
      return
    }
    peer.securing = true
    secure(watch.fd, true, (fd, reason) => {
      peer.securing = false
      if (fd < 0) failed(peer, reason, performance.now())
      else up(peer, fd, rtt)
    })
  }

  function up(peer: Peer, fd: number, rtt: number): void {
    const begun = performance.now()
    // forgotten meanwhile
    if (peers.get(peer.name) !== peer) {
      closeFd(fd)
      return
    }
    setState(peer, 'up')
    peer.lastUp = Date.now()
    peer.connection = open(fd, peer.endpoint, rtt, (reason) => {
      peer.connection = undefined
      const now = performance.now()
      peer.goodAt = now
      if (now - begun > GOOD_AFTER) {
        peer.retry = FIRST_RETRY
        peer.earlyUntil = now + EARLY
      }
      failed(peer, reason, now)
    })
  }

  function add(endpoint: Endpoint, found: boolean, dialAt: number): boolean {
    const name = formatEndpoint(endpoint)
    if (peers.has(name)) return false
    peers.set(name, {
      endpoint,
      name,
      found,
      state: 'down',
      since: Date.now(),
      knownSince: Date.now(),
      lastUp: undefined,
      lastError: null,
      goodAt: dialAt,
      retry: FIRST_RETRY,
      earlyUntil: performance.now() + EARLY,
      dialAt,
      dialing: undefined,
      securing: false,
      connection: undefined,
    })
    return true
  }

  return {
    peers: peers as ReadonlyMap<string, Readonly<Peer>>,

    /** Keeps a connection to ENDPOINT until it is removed; false when it does so already. */
    add: (endpoint: Endpoint): boolean => add(endpoint, false, performance.now()),

    /** Ends the connection to the peer NAME and dials it no more; false when there is none. */
    remove(name: string): boolean {
      const peer = peers.get(name)
      if (!peer) return false
      peers.delete(name)
      if (peer.dialing) reactor.close(peer.dialing)
      peer.connection?.close('it was removed')
      return true
    },

    /** A node on a local link said that it is there. DELAY it before it is dialled, in milliseconds. */
    found(endpoint: Endpoint, delay: number): void {
      const known = [...peers.values()].filter((peer) => peer.found).length
      if (known < MAX_FOUND && !isConnected(endpoint)) add(endpoint, true, performance.now() + delay)
    },

    /** Dials and gives up what is due; returns when to call again. */
    tick(now: number): number {
      let next = now + 1_000
      for (const peer of peers.values()) {
        if (peer.connection || peer.securing) continue
        if (peer.dialAt <= now) {
          if (peer.dialing) {
            reactor.close(peer.dialing)
            peer.dialing = undefined
            failed(peer, `connecting failed: ${noAnswer(CONNECT_TIMEOUT / 1000)}`, now)
          } else dial(peer, now)
        }
        next = Math.min(next, peer.dialAt)
      }
      return next
    },
  }
}
