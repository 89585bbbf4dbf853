import { randomBytes } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { type Identity, identityOf } from '../identity.ts'
import { createRouter, type Router } from '../router/router.ts'
import { IPV6_HEADER } from '../wire/icmp.ts'
import type { Connection } from './connection.ts'
import { createOutQueue } from './out-queue.ts'
import { createPlane, type Plane } from './plane.ts'

/** The link used before there are others; theirs count from 1. */
export const WARM_LINK = 0
const MILLISECONDS = 80
const NO_NEXT_HEADER = 59

/** A connection that leads nowhere: frames queued to it are handed to `arrived`, which may be set. */
export function warmConnection(): Connection & { arrived: (frame: Buffer) => void } {
  const stats = { bytesIn: 0, bytesOut: 0, framesIn: 0, dropped: 0 }
  const nothing = () => {}
  const warm = {
    id: WARM_LINK,
    endpoint: '',
    queue: createOutQueue((bytes, at, length) => warm.arrived(Buffer.from(bytes.subarray(at, at + length)))),
    stats,
    dirty: false,
    send: nothing,
    flush: nothing,
    check: nothing,
    close: nothing,
    arrived: (_frame: Buffer): void => {},
  }
  return warm
}

function packet(from: Identity, to: Identity): Buffer {
  const bytes = Buffer.alloc(IPV6_HEADER)
  bytes[0] = 0x60
  bytes[6] = NO_NEXT_HEADER
  bytes[7] = 64
  bytes.set(from.address, 8)
  bytes.set(to.address, 24)
  return bytes
}

function learn(router: Router, { publicKey, subnet }: Identity, now: number): void {
  const routerId = publicKey.toString('hex').padEnd(80, '0')
  const prefix = { bytes: subnet, length: 64 }
  router.linkUp(WARM_LINK, { base: 10, rtt: 0 }, now)
  router.receive(WARM_LINK, { type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId }, now)
}

/**
 * Sends packets to a made-up node and receives some from it, so that V8 has compiled the packet path before the first
 * real one: a lone ping took 0.75 ms over two fresh nodes, 0.49 ms over two that had been busy. Call it before there is
 * a port or a peer: nobody must hear of the made-up node.
 */
export function warmUp(
  identity: Identity,
  router: Router,
  plane: Plane,
  warm: ReturnType<typeof warmConnection>,
): void {
  const begun = performance.now()
  const other = identityOf(randomBytes(32))
  const back = warmConnection()
  const elsewhere = createPlane({
    identity: other,
    router: createRouter({ send: () => {}, owns: () => true }),
    connection: () => back,
    intercept: () => false,
    demandOf: () => 'either',
    now: () => performance.now(),
  })
  learn(router, other, begun)
  learn(elsewhere.router, identity, begun)
  warm.arrived = (frame) => elsewhere.receive(frame, 0, frame.length)
  back.arrived = (frame) => plane.receive(frame, 0, frame.length)
  const there = packet(identity, other)
  const here = packet(other, identity)
  const nowhere = openSync('/dev/null', 'w')
  while (performance.now() - begun < MILLISECONDS) {
    plane.sendOwn(there)
    elsewhere.sendOwn(here)
    warm.queue.flush(nowhere)
    back.queue.flush(nowhere)
    plane.flush()
  }
  closeSync(nowhere)
  router.linkDown(WARM_LINK, performance.now())
  plane.beginAnew()
  elsewhere.beginAnew()
}
