import { readFd } from '#sys'
import { isOverlay, type Subnet, subnetOf } from '../address.ts'
import type { Route } from '../router/types.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT, SOURCE_AT } from '../wire/frame.ts'
import { type IcmpError, IPV6_HEADER, icmpError, noRoute, quotedBody, timeExceeded, wrapOob } from '../wire/icmp.ts'
import { INNER_HEADER, OOB_ICMP } from '../wire/seal.ts'
import { hashRange } from './flows.ts'
import { createInbound } from './inbound.ts'
import { finishChecksum, packetBuffer, readVnet, VNET_HEADER } from './offload.ts'
import { createOutbound } from './outbound.ts'
import { createContext, HEADROOM, type PlaneOptions } from './plane-context.ts'

const MAX_PACKET = 0xffff
/** Packets and bytes read from the TUN before others get their turn: a ping must not wait for megabytes. */
const BATCH = 64
const BATCH_BYTES = 192 << 10

export type Plane = ReturnType<typeof createPlane>

/** Moves packets between the TUN and the peers, and frames between peers. */
export function createPlane(options: PlaneOptions) {
  const context = createContext(options)
  const { identity, router, pending, count } = context
  const inbound = createInbound(context)
  const outbound = createOutbound(context, inbound.toSelf)
  const fromTun = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)

  /** Tells the source of a frame that it could not be delivered, by an error only it can read. */
  function report(frame: Buffer, error: IcmpError, name: string): void {
    count(name)
    const source = Buffer.from(frame.subarray(SOURCE_AT, SOURCE_AT + 16))
    const subnet = subnetOf(source)
    const route = router.lookup(subnet, context.now())
    if (!route || subnet === identity.subnet || !context.mayAnswer()) return
    const icmp = icmpError(identity.address, source, error, quotedBody(frame.subarray(BODY_AT)))
    const destination = frame.subarray(DESTINATION_AT, DESTINATION_AT + 16)
    const payload = Buffer.concat([Buffer.alloc(INNER_HEADER), wrapOob(destination, icmp)])
    const head = { source: identity.address, destination: source, hopLimit: 63, first: true }
    context.sealTo(subnet, route, OOB_ICMP, payload, INNER_HEADER, payload.length - INNER_HEADER, head)
  }

  function forward(frame: Buffer, route: Route): void {
    const to = context.connection(route.link)
    if (!to) return
    const first = context.flows.isQuiet(hashRange(frame, SOURCE_AT, BODY_AT), frame.length, context.now())
    const at = context.place(to, frame.length, first)
    if (at < 0) return
    frame.copy(to.queue.bytes, at)
    to.queue.commit(at, frame.length)
    to.dirty = true
    count('forwarded')
  }

  /** Where a frame goes whose hop limit was checked already. */
  function dispatch(frame: Buffer): void {
    const subnet = subnetOf(frame, DESTINATION_AT)
    if (subnet === identity.subnet) {
      inbound.deliver(frame)
      return
    }
    const time = context.now()
    const route = router.lookup(subnet, time)
    if (route) forward(frame, route)
    else if (!router.want(subnet, time) || !pending.putFrame(subnet, frame)) report(frame, noRoute, 'no-route')
  }

  /** A packet that was made or has waited here. */
  function sendOwn(packet: Buffer): void {
    packet.copy(fromTun.bytes, HEADROOM)
    outbound.send(fromTun, HEADROOM, packet.length)
  }

  return {
    counters: context.counters,
    pending,
    sendOwn,

    /** Takes over the TUN descriptor; `readTun` is to be called whenever it is readable. */
    attach(fd: number): void {
      context.tun = fd
    },

    readTun(): void {
      const { bytes } = fromTun
      let taken = 0
      for (let i = 0; i < BATCH && taken < BATCH_BYTES; i++) {
        const n = readFd(context.tun, bytes, HEADROOM - VNET_HEADER, VNET_HEADER + IPV6_HEADER + MAX_PACKET)
        if (n <= 0) return
        taken += n
        const length = n - VNET_HEADER
        const offload = readVnet(bytes, HEADROOM)
        const unfinished = offload?.gsoSize === 0 && offload.checksumStart > 0
        if (!offload || (unfinished && !finishChecksum(fromTun, HEADROOM, length, offload))) count('odd-offload')
        else outbound.send(fromTun, HEADROOM, length, offload)
      }
    },

    /** A data frame from a peer at BYTES[at, at+length): for us or to be passed on. */
    receive(bytes: Buffer, at: number, length: number): void {
      const frame = bytes.subarray(at, at + length)
      const hopLimit = frame[HOP_LIMIT_AT]!
      if (!isOverlay(frame[SOURCE_AT]!) || !isOverlay(frame[DESTINATION_AT]!)) count('not-overlay')
      // ours never come back: a loop, or somebody who pretends to be us
      else if (frame.compare(identity.address, 0, 8, SOURCE_AT, SOURCE_AT + 8) === 0) count('own-source')
      else if (hopLimit < 2) report(frame, timeExceeded, 'hop-limit')
      else {
        frame[HOP_LIMIT_AT] = hopLimit - 1
        dispatch(frame)
      }
    },

    /** Hands over what was held back to be joined: at the end of each turn. */
    flush: (): void => inbound.flush(),

    /** What waited for SUBNET moves on. */
    routeFound(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      for (const packet of waiting?.packets ?? []) sendOwn(packet)
      for (const frame of waiting?.frames ?? []) dispatch(frame)
    },

    routeMissing(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      for (const packet of waiting?.packets ?? []) outbound.refuse(packet, noRoute, 'no-route')
      for (const frame of waiting?.frames ?? [])
        if (subnetOf(frame, DESTINATION_AT) !== identity.subnet) report(frame, noRoute, 'no-route')
    },

    /** Once a second. */
    tick: (): void => context.refill(),
  }
}
