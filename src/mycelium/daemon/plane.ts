import { isOverlay, type Subnet, subnetOf } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { LinkId, Route } from '../router/types.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT, SOURCE_AT } from '../wire/frame.ts'
import {
  addressUnreachable,
  type IcmpError,
  IPV6_HEADER,
  icmpError,
  noRoute,
  quotedBody,
  timeExceeded,
  wrapOob,
} from '../wire/icmp.ts'
import { INNER_HEADER, OOB_ICMP, PACKET } from '../wire/seal.ts'
import { hashRange } from './flows.ts'
import { createInbound } from './inbound.ts'
import type { Local } from './local.ts'
import { packetBuffer } from './offload.ts'
import { createOutbound } from './outbound.ts'
import { createContext, HEADROOM, type PlaneOptions } from './plane-context.ts'
import type { Remote } from './remote.ts'
import { ownWay, wayBack } from './sealing.ts'

const MAX_PACKET = 0xffff

export type Plane = ReturnType<typeof createPlane>

/** Moves packets between the ports of this node's identities and the peers, and frames between peers. */
export function createPlane(options: PlaneOptions) {
  const context = createContext(options)
  const { node, locals, router, pending, count } = context
  const inbound = createInbound(context)
  const outbound = createOutbound(context, inbound.toSelf, inbound.toNeighbour)
  context.expired = ({ way, type, payload }) => {
    const length = payload.length - INNER_HEADER
    if (type === PACKET) outbound.refuse(way.local, payload, INNER_HEADER, length, addressUnreachable, 'no-session')
    else count('no-session')
  }
  const made = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)

  /** Tells the source of a frame that it could not be delivered, by an error only it can read. */
  function report(frame: Buffer, error: IcmpError, name: string): void {
    count(name)
    const subnet = subnetOf(frame, SOURCE_AT)
    const route = router.lookup(subnet, context.now())
    if (!route || locals.has(subnet) || !context.mayAnswer()) return
    const way = wayBack(node, frame.subarray(SOURCE_AT, SOURCE_AT + 16), route)
    const icmp = icmpError(
      node.identity.address,
      frame.subarray(SOURCE_AT, SOURCE_AT + 16),
      error,
      quotedBody(frame.subarray(BODY_AT)),
    )
    const unreached = frame.subarray(DESTINATION_AT, DESTINATION_AT + 16)
    const payload = Buffer.concat([Buffer.alloc(INNER_HEADER), wrapOob(unreached, icmp)])
    context.sealTo(way, OOB_ICMP, payload, INNER_HEADER, payload.length - INNER_HEADER)
  }

  function forward(bytes: Buffer, start: number, length: number, route: Route): void {
    const to = context.connection(route.link)
    if (!to) return
    const flow = hashRange(bytes, start + SOURCE_AT, start + BODY_AT)
    const first = context.flows.isQuiet(flow, length, context.now())
    const at = context.place(to, length, first, bytes, start + SOURCE_AT)
    if (at < 0) return
    bytes.copy(to.queue.bytes, at, start, start + length)
    to.queue.commit(at, length)
    to.queued(first)
    count('forwarded')
  }

  /** Where the frame at BYTES[start, start+length) goes, whose hop limit was checked already. */
  function dispatch(bytes: Buffer, start = 0, length = bytes.length): void {
    const subnet = subnetOf(bytes, start + DESTINATION_AT)
    const local = locals.get(subnet)
    if (local) {
      inbound.deliver(local, bytes, start, length)
      return
    }
    const time = context.now()
    const route = router.use(subnet, time)
    if (route) {
      forward(bytes, start, length, route)
      return
    }
    const frame = bytes.subarray(start, start + length)
    if (!context.awaits(subnet, frame)) report(frame, noRoute, 'no-route')
  }

  /** A packet of LOCAL that was made or has waited here. */
  function sendFrom(local: Local, packet: Buffer): void {
    packet.copy(made.bytes, HEADROOM)
    outbound.send(local, made, HEADROOM, packet.length)
  }

  /** What waited for SUBNET, by whom it came from; those who left meanwhile are forgotten. */
  function eachPacket(packets: Buffer[] | undefined, act: (local: Local, packet: Buffer) => void): void {
    for (const packet of packets ?? []) {
      const local = locals.get(subnetOf(packet, 8))
      if (local) act(local, packet)
    }
  }

  return {
    counters: context.counters,
    count,
    node,
    router,
    locals: locals as ReadonlyMap<Subnet, Local>,
    pending,
    unreached: context.unreached.last,
    /** What a port hands over. */
    send: outbound.send,
    sendOwn: (packet: Buffer): void => sendFrom(node, packet),

    /** A message of this node, or a piece of a stream; without a route it is lost, and the next one may find it. */
    say(to: Buffer, type: number, payload: Uint8Array): void {
      const subnet = subnetOf(to)
      const route = router.lookup(subnet, context.now())
      if (!route) {
        router.want(subnet, context.now())
        return
      }
      const bytes = Buffer.concat([Buffer.alloc(INNER_HEADER), payload])
      const way = { ...ownWay(node, to, subnet, route), first: false }
      context.sealTo(way, type, bytes, INNER_HEADER, payload.length)
    },

    /** Answers for one more identity; `remove` ends it. Its port is the caller's to set. */
    add: (identity: Identity): Local => context.addLocal(identity),

    remove(local: Local): void {
      inbound.flush()
      locals.delete(local.identity.subnet)
      local.remotes[Symbol.dispose]()
      local.port?.close()
    },

    /** How many other nodes, over all identities, are spoken to in which way. */
    sealings(): Record<Remote['sealing'], number> {
      const counts = { session: 0, legacy: 0, none: 0 }
      for (const local of locals.values()) for (const remote of local.remotes.known.values()) counts[remote.sealing]++
      return counts
    },

    /** What is demanded of WHOM (by public key in hex) has changed: sessions and keys are agreed on anew. */
    beginAnew(whom: (publicKey: string) => boolean = () => true): void {
      for (const local of locals.values()) local.remotes.beginAnew(whom)
    },

    /** A data frame from the peer at the other end of LINK, at BYTES[at, at+length): for us or to be passed on. */
    receive(bytes: Buffer, at: number, length: number, link: LinkId): void {
      const hopLimit = bytes[at + HOP_LIMIT_AT]!
      if (!isOverlay(bytes[at + SOURCE_AT]!) || !isOverlay(bytes[at + DESTINATION_AT]!)) count('not-overlay')
      // ours never come back: a loop, or somebody who pretends to be us
      else if (locals.has(subnetOf(bytes, at + SOURCE_AT))) count('own-source')
      else if (hopLimit < 2) report(bytes.subarray(at, at + length), timeExceeded, 'hop-limit')
      else {
        bytes[at + HOP_LIMIT_AT] = hopLimit - 1
        context.from = link
        dispatch(bytes, at, length)
        context.from = undefined
      }
    },

    /** Hands over what was held back to be joined: at the end of each turn. */
    flush: (): void => inbound.flush(),

    /** What waited for SUBNET moves on. */
    routeFound(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      eachPacket(waiting?.packets, sendFrom)
      for (const frame of waiting?.frames ?? []) dispatch(frame)
    },

    routeMissing(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      eachPacket(waiting?.packets, (local, packet) =>
        outbound.refuse(local, packet, 0, packet.length, noRoute, 'no-route'),
      )
      for (const frame of waiting?.frames ?? [])
        if (!locals.has(subnetOf(frame, DESTINATION_AT))) report(frame, noRoute, 'no-route')
    },

    /** Once a second. */
    tick(): void {
      context.refill()
      context.sealing.tick()
    },
    /** Several times a second while `isImpatient`. */
    tickImpatient: context.sealing.tickImpatient,
    get isImpatient(): boolean {
      return context.sealing.isImpatient
    },
  }
}
