import { randomBytes } from 'node:crypto'
import { ZosError } from '#codec'
import { closeFd, permissions } from '#sys'
import { formatSubnet, subnetOf } from '../address.ts'
import { type Endpoint, formatEndpoint } from '../endpoint.ts'
import { describeIdentity, type Identity } from '../identity.ts'
import type { NicNetwork } from '../nic/network.ts'
import { createRouter } from '../router/router.ts'
import { readPolicy, type SealingPolicy } from '../session/policy.ts'
import { MTU } from '../wire/frame.ts'
import { createAsking } from './asking.ts'
import type { Beacon } from './beacon.ts'
import { createCapture } from './capture.ts'
import type { Local } from './local.ts'
import { ownership } from './ownership.ts'
import { createPeers, hostOf } from './peers.ts'
import { createPlane } from './plane.ts'
import { type AskedCard, type OpenPort, openPort } from './ports.ts'
import { createProbes, type ProbeResult } from './probe.ts'
import type { Securing, Told } from './protocol.ts'
import { createReactor } from './reactor.ts'
import { readBeacon } from './read-beacon.ts'
import { queriedStatuses, routeStatuses, unreachedStatuses } from './route-status.ts'
import { createSecuring } from './securing.ts'
import { createTelling } from './telling.ts'
import { createClash } from './unreached.ts'
import { warmUp } from './warm-up.ts'

/** Upstream's cost of a TCP link, before its round-trip time. */
const COST_V6 = 10
const COST_V4 = 15
/** Milliseconds between two looks at remotes that wait for session keys. */
const IMPATIENT_TICK = 100
/** Milliseconds after which timers are looked at again although none was due: packets may have set an earlier one. */
const WORK_EVERY = 20

export type EngineOptions = {
  identity: Identity
  listen: Endpoint[]
  peers: Endpoint[]
  /** What the node's own identity is attached to; without one this node only relays. */
  port: OpenPort | undefined
  sealing: SealingPolicy
  captured: (peer: string, line: string) => void
  /** Takes what was said to this node itself; false when it cannot. */
  message: (from: Buffer, publicKey: string, told: Told) => boolean
  /** Has a card opened on the main thread: `opened` is the answer. */
  openCard: (id: number, card: AskedCard) => void
  /** Takes a line for whoever runs this node. */
  tell: (line: string) => void
  /** In a private network: who makes connections secure. */
  secure: ((one: Securing) => void) | undefined
}

/** Everything that runs on the packet thread: descriptors, peers, routes, packets. `run` returns when `stop` was called. */
export function createEngine(options: EngineOptions) {
  const { identity, listen, peers: dialled, port, sealing, captured, message, secure, openCard, tell } = options
  const begun = Date.now()
  const reactor = createReactor()
  const faults: Record<string, number> = {}
  const capture = createCapture(captured)
  let planeTick = 0
  let impatientTick = 0
  let workedAt = 0
  let dueAt = 0
  let demandOf = readPolicy(sealing)
  const asking = createAsking(openCard)

  const telling = createTelling(tell, () => reactor.now)
  const clash = createClash(reactor.now, telling)
  const router = createRouter({
    owns: ownership(),
    send: (link, message) => peers.connections.get(link)?.send(message),
    hasRoom: (link) => peers.connections.get(link)?.hasRoom === true,
    onSelected: (subnet, route) => route && plane.routeFound(subnet),
    onUnreachable: (subnet) => plane.routeMissing(subnet),
    onClash: (subnet, link) => clash.heard(subnet, peers.connections.get(link)?.endpoint ?? 'a peer', reactor.now),
  })
  const plane = createPlane({
    identity,
    router,
    connection: (id) => peers.connections.get(id),
    intercept: (bytes, at, length) => probes.intercept(bytes, at, length),
    demandOf: (publicKey) => demandOf(publicKey),
    message,
    now: () => reactor.now,
    tell: telling,
  })
  const probes = createProbes(
    identity.address,
    (packet) => plane.sendOwn(packet),
    (destination) => plane.unreached.get(subnetOf(destination))?.error ?? null,
  )
  const rttOf = (id: number) => {
    const link = router.links.get(id)
    return link ? Math.round(link.rtt * 1000) / 1000 : null
  }
  const securing = secure && createSecuring(secure)
  const peers = createPeers(
    reactor,
    {
      message: (connection, message) => router.receive(connection.id, message, performance.now()),
      data: (connection, bytes, at, length) => {
        router.heard(connection.id, reactor.now)
        plane.receive(bytes, at, length, connection.id)
      },
      up: (connection, rtt, endpoint) => {
        const base = endpoint.ip.includes(':') ? COST_V6 : COST_V4
        router.linkUp(connection.id, { base, rtt, host: hostOf(endpoint) }, performance.now())
      },
      down: (connection) => router.linkDown(connection.id, performance.now()),
      fault: (name) => {
        faults[name] = (faults[name] ?? 0) + 1
      },
      ...(securing ? { secure: securing.secure } : {}),
      frame: capture.frame,
    },
    rttOf,
  )

  announce(identity)
  // taking an address may be refused, so it comes first; nobody is accepted before the warm-up is over
  const listeners = listen.map((endpoint) => peers.listen(endpoint))
  warmUp({
    reactor,
    identity,
    plane,
    peers,
    turn() {
      before()
      reactor.turn(0)
    },
  })
  for (const accept of listeners) accept()
  for (const endpoint of dialled) peers.add(endpoint)
  if (port) open(plane.node, port)

  function announce({ publicKey, subnet }: Identity): void {
    const routerId = `${publicKey.toString('hex')}0000${randomBytes(6).toString('hex')}`
    router.addOrigin(subnet, routerId, performance.now())
  }

  const localOf = (publicKey: string): Local | undefined =>
    [...plane.locals.values()].find((local) => local.identity.publicKey.toString('hex') === publicKey)

  function open(local: Local, spec: OpenPort): void {
    local.port = openPort(spec, {
      reactor,
      openCard: asking.openCard,
      identity: local.identity,
      count: plane.count,
      send: (packet, at, length, offload) => plane.send(local, packet, at, length, offload),
    })
  }

  /** Does what is due before the thread sleeps; returns for how many milliseconds it may sleep. */
  function before(): number {
    // packets first: timers can wait for them
    plane.flush()
    peers.flush()
    const now = reactor.now
    if (router.isBehind && router.tellNews(now)) {
      peers.flush()
      return 0
    }
    // packets since the last look may have set a timer earlier than `dueAt`: look again soon, but not after each packet
    if (now < dueAt && now < workedAt + WORK_EVERY) return Math.min(dueAt, workedAt + WORK_EVERY) - now
    workedAt = now
    dueAt = work(now)
    peers.flush()
    return dueAt - performance.now()
  }

  /** Runs the timers that are due; returns when the next one is. */
  function work(now: number): number {
    if (now >= planeTick) {
      planeTick = now + 1_000
      plane.tick()
      capture.tick()
    }
    if (plane.isImpatient && now >= impatientTick) {
      impatientTick = now + IMPATIENT_TICK
      plane.tickImpatient()
    }
    const soonest = plane.isImpatient ? impatientTick : planeTick
    let ports = Number.POSITIVE_INFINITY
    for (const { port } of plane.locals.values()) if (port?.tick) ports = Math.min(ports, port.tick(now))
    return Math.min(ports, router.tick(performance.now()), peers.tick(now), probes.tick(now), planeTick, soonest)
  }

  return {
    wakeFd: reactor.wakeFd,
    run: (woken: () => void): void => reactor.run(before, woken),
    stop: (): void => reactor.stop(),

    status: () => ({
      ...describeIdentity(identity),
      since: new Date(begun).toISOString(),
      tun: port?.kind === 'tun' ? port.name : null,
      identities: [...plane.locals.values()].map((local) => ({
        ...describeIdentity(local.identity),
        ...local.port?.traffic,
      })),
      mtu: MTU,
      listen: listen.map(formatEndpoint),
      peersUp: peers.status().filter((peer) => peer.state === 'up').length,
      routes: [...router.entries.values()].filter((entry) => entry.selected).length,
      searching: [...router.queries.keys()].map(formatSubnet),
      ...unreachedStatuses(router, plane.unreached, performance.now()),
      clash: clash.words(performance.now()),
      clashes: clash.count,
      waitingBytes: plane.pending.bytes,
      packets: plane.counters,
      sealing: plane.sealings(),
      /** What the packet thread may still do: nothing, once it is confined. */
      permissions: permissions(),
      routing: router.counters,
      faults,
    }),

    peers: () => peers.status(),

    /** Answers for one more identity. */
    attach(added: Identity, spec: OpenPort): void {
      const { address } = describeIdentity(added)
      if (router.isOwn(added.subnet))
        throw new ZosError(`Attach identity ${address}: it is attached already; detach it first`, {
          code: 'identity-taken',
        })
      open(plane.add(added), spec)
      announce(added)
    },

    /** Dials ENDPOINT from now on; false when it is dialled already. */
    addPeer: (endpoint: Endpoint): boolean => peers.add(endpoint),
    removePeer: (name: string): boolean => peers.remove(name),

    /** Perhaps a node on a local link says that it is there. */
    beacon({ bytes, ip, zone, scope }: Beacon): void {
      const said = readBeacon(Buffer.from(bytes), ip, identity.publicKey)
      if (said) peers.found({ scheme: secure ? 'tls' : 'tcp', ip, port: said.port, zone, scope }, said.delay)
    },

    /** A card asked for by `openCard` is open, or not. */
    opened: asking.opened,

    /** A connection handed to `secure` stands, or why not. */
    secured: (connection: number, failure: string | undefined): void => securing?.secured(connection, failure),

    /** Messages of this node. */
    say(to: Buffer, type: number, payloads: readonly Uint8Array[]): void {
      for (const payload of payloads) plane.say(to, type, payload)
    },

    /** From now on demands sessions of others as POLICY says; keys are agreed on anew with those for whom that is a change. */
    demand(policy: SealingPolicy): void {
      const before = demandOf
      demandOf = readPolicy(policy)
      plane.beginAnew((publicKey) => before(publicKey) !== demandOf(publicKey))
    },

    /** False when no such identity is attached. The node's own stays. */
    detach(publicKey: string): boolean {
      const found = localOf(publicKey)
      if (!found || found === plane.node) return false
      router.removeOrigin(found.identity.subnet)
      plane.remove(found)
      return true
    },

    /** A socket to what carries the frames of an identity to the Internet; false, and closed, when it may not go there. */
    egress(publicKey: string, fd: number): boolean {
      const take = localOf(publicKey)?.port?.egress
      if (take) take(fd)
      else closeFd(fd)
      return take !== undefined
    },

    /** False when no such identity is attached to a port that is part of a network. */
    reform(publicKey: string, network: NicNetwork): boolean {
      const port = localOf(publicKey)?.port
      port?.reform?.(network)
      return port?.reform !== undefined
    },

    routes: () => routeStatuses(router, plane, peers),
    queried: () => queriedStatuses(router),

    probe(address: Buffer, hopLimit: number, timeout: number, done: (result: ProbeResult) => void): void {
      probes.probe(address, hopLimit, timeout, done)
    },

    capture: capture.turn,
  }
}

export type Engine = ReturnType<typeof createEngine>
