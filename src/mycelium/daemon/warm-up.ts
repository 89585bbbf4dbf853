import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { closeFd, readFd, socketPair, writeFd } from '#sys'
import { type Identity, identityOf } from '../identity.ts'
import { createRouter } from '../router/router.ts'
import { IPV6_HEADER } from '../wire/icmp.ts'
import { createConnection } from './connection.ts'
import type { Port } from './local.ts'
import { VNET_HEADER } from './offload.ts'
import type { Peers } from './peers.ts'
import { createPlane, type Plane } from './plane.ts'
import { fdPort, type PortHooks } from './ports.ts'
import type { Reactor } from './reactor.ts'

const MILLISECONDS = 120
const ICMPV6 = 58
const BODY = 64
const NOWHERE = { scheme: 'tcp', ip: '0.0.0.0', port: 0 } as const

/** Calls after which V8 compiles a function, by its quick compiler (default 400) and its best one (default 3000). */
function compileAfter(maglev: number, turbofan: number): void {
  setFlagsFromString(`--invocation-count-for-maglev=${maglev}`)
  setFlagsFromString(`--invocation-count-for-turbofan=${turbofan}`)
}

/** A packet as a TUN hands it over. */
function packet(from: Identity, to: Identity): Buffer {
  const bytes = Buffer.alloc(VNET_HEADER + IPV6_HEADER + BODY)
  const at = VNET_HEADER
  bytes[at] = 0x60
  bytes.writeUInt16BE(BODY, at + 4)
  bytes[at + 6] = ICMPV6
  bytes[at + 7] = 64
  bytes.set(from.address, at + 8)
  bytes.set(to.address, at + 24)
  return bytes
}

/** The other end of a connection to us: a node of its own on this thread, attached to what PORT gives. */
export function madeUpNode(reactor: Reactor, fd: number, port: (hooks: PortHooks) => Port) {
  const identity = identityOf(randomBytes(32))
  const router = createRouter({ send: (_link, message) => connection.send(message), owns: () => true })
  const now = () => reactor.now
  const plane = createPlane({
    identity,
    router,
    connection: () => connection,
    intercept: () => false,
    message: () => false,
    demandOf: () => 'either',
    now,
  })
  const connection = createConnection(reactor, fd, 1, '', {
    message: (_connection, message) => router.receive(1, message, now()),
    data: (connection, bytes, at, length) => plane.receive(bytes, at, length, connection.id),
    closed: () => router.linkDown(1, now()),
    fault: () => {},
  })
  const { node } = plane
  node.port = port({
    reactor,
    identity,
    count: () => {},
    openCard: () => {},
    send: (bytes, at, length, offload) => plane.send(node, bytes, at, length, offload),
  })
  router.addOrigin(identity.subnet, identity.publicKey.toString('hex').padEnd(80, '0'), now())
  router.linkUp(1, { base: 10, rtt: 0 }, now())
  return { identity, plane, connection }
}

export type WarmUpOptions = {
  reactor: Reactor
  identity: Identity
  plane: Plane
  peers: Peers
  /** One round of the thread's loop. */
  turn: () => void
}

/**
 * Sends packets to a made-up node and back, over sockets and through all that handles real ones, so that V8 has compiled
 * that before the first of them: it does so for what has run some hundred times, which for a node that is pinged once a
 * second is never (0.8 ms a round trip, 0.5 ms after this). Call it before there is a port or a peer: nobody must hear of
 * the made-up node.
 */
export function warmUp({ reactor, identity, plane, peers, turn }: WarmUpOptions): void {
  const begun = performance.now()
  compileAfter(30, 150)
  const [near, far] = socketPair('stream')
  const [tun, kernel] = socketPair('packets')
  const [farTun, farKernel] = socketPair('packets')
  const other = madeUpNode(reactor, far, (hooks) => fdPort(farTun, hooks))
  const link = peers.adopt(near, NOWHERE)
  const { node, count } = plane
  node.port = fdPort(tun, {
    reactor,
    count,
    send: (bytes, at, length, offload) => plane.send(node, bytes, at, length, offload),
  })
  const there = packet(identity, other.identity)
  const back = packet(other.identity, identity)
  const taken = Buffer.alloc(2048)
  while (performance.now() - begun < MILLISECONDS) {
    writeFd(kernel, there, 0, there.length)
    writeFd(farKernel, back, 0, back.length)
    for (let i = 0; i < 3; i++) {
      turn()
      other.plane.flush()
      other.connection.settle()
    }
    for (const fd of [kernel, farKernel]) while (readFd(fd, taken, 0, taken.length) > 0);
  }
  node.port.close()
  node.port = undefined
  other.plane.remove(other.plane.node)
  link.close('')
  other.connection.close('')
  plane.beginAnew()
  for (const fd of [kernel, farKernel]) closeFd(fd)
  // The flags count for all threads. With a low number for the best compiler, code that runs once a second would go through it
  // as well, and it keeps 7 MB. The quick one stays early, for what a first stream needs and these packets did not run.
  compileAfter(30, 3000)
}
