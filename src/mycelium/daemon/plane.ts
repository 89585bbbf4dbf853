import { EAGAIN, readFd, writeFd } from '#sys'
import { isOverlay, type Subnet, subnetOf } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Router } from '../router/router.ts'
import type { Route } from '../router/types.ts'
import { BODY_AT, DESTINATION_AT, HOP_LIMIT_AT, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import {
  addressUnreachable,
  type IcmpError,
  IPV6_HEADER,
  icmpError,
  isIcmpError,
  noRoute,
  quotedBody,
  readOob,
  sourcePolicy,
  timeExceeded,
  wrapOob,
} from '../wire/icmp.ts'
import { INNER_HEADER, OOB_ICMP, PACKET, SEAL_OVERHEAD } from '../wire/seal.ts'
import type { Connection } from './connection.ts'
import { createFlows, hashRange } from './flows.ts'
import { createPending } from './pending.ts'
import { createRemotes } from './remotes.ts'

/** Room before a packet for the inner header that sealing writes there. */
const HEADROOM = 64
const MAX_PACKET = 0xffff
/** Packets read from the TUN before others get their turn. */
const BATCH = 64
/** Errors we send to others per second: they must not serve to flood a third. */
const ERRORS_PER_SECOND = 200

export type PlaneOptions = {
  identity: Identity
  router: Router
  connection: (id: number) => Connection | undefined
  /** Sees each packet for this node before the kernel does; true takes it. */
  intercept: (packet: Buffer) => boolean
  now: () => number
}

export type Plane = ReturnType<typeof createPlane>

/** Moves packets between the TUN and the peers. A packet is copied once, by its encryption. */
export function createPlane({ identity, router, connection, intercept, now }: PlaneOptions) {
  const counters: Record<string, number> = {}
  const count = (name: string) => {
    counters[name] = (counters[name] ?? 0) + 1
  }
  const pending = createPending()
  const flows = createFlows()
  const remotes = createRemotes(identity, (subnet) => {
    const routerId = router.entries.get(subnet)?.selected?.routerId
    return routerId === undefined ? undefined : Buffer.from(routerId.slice(0, 64), 'hex')
  })
  const inPacket = Buffer.allocUnsafeSlow(HEADROOM + MAX_PACKET)
  const outPacket = Buffer.allocUnsafeSlow(HEADROOM + MAX_PACKET)
  let tun = -1
  let errorsLeft = ERRORS_PER_SECOND

  function toTun(packet: Buffer, at: number, length: number) {
    if (tun < 0) return
    const n = writeFd(tun, packet, at, length)
    if (n < 0) count(n === -EAGAIN ? 'tun-full' : 'tun-refused')
  }

  /** Answers a packet of this machine with an error, as a router on the way would. */
  function refuse(packet: Buffer, error: IcmpError, name: string) {
    count(name)
    if (isIcmpError(packet)) return
    const answer = icmpError(identity.address, packet.subarray(8, 24), error, packet)
    if (!intercept(answer)) toTun(answer, 0, answer.length)
  }

  /** A place for a frame of LENGTH bytes to the next hop; -1 (and counted) when there is none. */
  function place(to: Connection, length: number, first: boolean): number {
    const at = to.queue.reserve(length, first)
    if (at < 0) to.stats.dropped++
    return at
  }

  /** Seals BYTES[at, at+length), which has four bytes to spare before it, and queues it to the route's next hop. */
  function sealTo(
    subnet: Subnet,
    route: Route,
    type: number,
    bytes: Buffer,
    at: number,
    length: number,
    head: { source: Buffer; destination: Buffer; hopLimit: number; first: boolean },
  ): boolean {
    const to = connection(route.link)
    const sealer = remotes.sealer(subnet)
    if (!to || !sealer) return false
    const size = BODY_AT + length + SEAL_OVERHEAD
    const place_ = place(to, size, head.first)
    if (place_ < 0) return true
    const out = to.queue.bytes
    writeDataHeader(out, place_, length + SEAL_OVERHEAD, head.hopLimit)
    head.source.copy(out, place_ + SOURCE_AT)
    head.destination.copy(out, place_ + DESTINATION_AT)
    sealer.seal(type, bytes, at, length, out, place_ + BODY_AT)
    to.queue.commit(place_, size)
    to.dirty = true
    return true
  }

  /** Sends a packet of this machine: an IPv6 packet at BYTES[at, at+length). */
  function send(bytes: Buffer, at: number, length: number) {
    if (length < IPV6_HEADER || bytes[at]! >> 4 !== 6) return count('not-ipv6')
    const packet = bytes.subarray(at, at + length)
    if (IPV6_HEADER + packet.readUInt16BE(4) !== length) return count('bad-length')
    if (!isOverlay(packet[24]!)) return count('not-overlay')
    const source = packet.subarray(8, 24)
    const destination = packet.subarray(24, 40)
    if (!source.equals(identity.address)) {
      // link-local sources belong to the interface itself: router solicitations and the like
      if (isOverlay(packet[8]!)) return refuse(packet, sourcePolicy, 'foreign-source')
      return count('foreign-source')
    }
    const subnet = subnetOf(destination)
    if (subnet === identity.subnet) return refuse(packet, addressUnreachable, 'own-subnet')
    const hopLimit = packet[7]!
    if (hopLimit < 2) return refuse(packet, timeExceeded, 'hop-limit')
    const time = now()
    const route = router.lookup(subnet, time)
    if (!route) {
      if (!router.want(subnet, time) || !pending.putPacket(subnet, packet)) refuse(packet, noRoute, 'no-route')
      return
    }
    // the ports, where there are any, are the first word after the header
    const flow = hashRange(packet, 4, Math.min(IPV6_HEADER + 4, length), packet[6])
    const first = flows.isQuiet(flow, length, time)
    const sent = sealTo(subnet, route, PACKET, bytes, at, length, {
      source,
      destination,
      hopLimit: hopLimit - 1,
      first,
    })
    if (!sent) refuse(packet, noRoute, 'no-key')
  }

  /** Tells the source of a frame that it could not be delivered, by an error only it can read. */
  function report(frame: Buffer, error: IcmpError, name: string) {
    count(name)
    if (errorsLeft-- <= 0) return
    const source = Buffer.from(frame.subarray(SOURCE_AT, SOURCE_AT + 16))
    const destination = frame.subarray(DESTINATION_AT, DESTINATION_AT + 16)
    const subnet = subnetOf(source)
    const route = router.lookup(subnet, now())
    if (!route || source.equals(identity.address)) return
    const icmp = icmpError(identity.address, source, error, quotedBody(frame.subarray(BODY_AT)))
    const payload = Buffer.concat([Buffer.alloc(INNER_HEADER), wrapOob(destination, icmp)])
    const head = { source: identity.address, destination: source, hopLimit: 63, first: true }
    sealTo(subnet, route, OOB_ICMP, payload, INNER_HEADER, payload.length - INNER_HEADER, head)
  }

  /** A data frame from a peer at BYTES[at, at+length): for us or to be passed on. */
  function receive(bytes: Buffer, at: number, length: number) {
    const frame = bytes.subarray(at, at + length)
    if (!isOverlay(frame[SOURCE_AT]!) || !isOverlay(frame[DESTINATION_AT]!)) return count('not-overlay')
    const hopLimit = frame[HOP_LIMIT_AT]!
    if (hopLimit < 2) return report(frame, timeExceeded, 'hop-limit')
    frame[HOP_LIMIT_AT] = hopLimit - 1
    const subnet = subnetOf(frame, DESTINATION_AT)
    if (subnet === identity.subnet) return deliver(frame)
    const time = now()
    const route = router.lookup(subnet, time)
    if (!route) {
      if (!router.want(subnet, time) || !pending.putFrame(subnet, frame)) report(frame, noRoute, 'no-route')
      return
    }
    forward(frame, route, time)
  }

  function forward(frame: Buffer, route: Route, time: number) {
    const to = connection(route.link)
    if (!to) return count('no-route')
    const first = flows.isQuiet(hashRange(frame, SOURCE_AT, BODY_AT), frame.length, time)
    const at = place(to, frame.length, first)
    if (at < 0) return
    frame.copy(to.queue.bytes, at)
    to.queue.commit(at, frame.length)
    to.dirty = true
    count('forwarded')
  }

  function deliver(frame: Buffer) {
    const subnet = subnetOf(frame, SOURCE_AT)
    const sealer = remotes.sealer(subnet)
    if (!sealer) {
      // the sender's key comes with a route to it
      if (!router.want(subnet, now()) || !pending.putFrame(subnet, frame)) count('unknown-sender')
      return
    }
    const inner = HEADROOM - INNER_HEADER
    const length = sealer.open(frame, BODY_AT, frame.length - BODY_AT, outPacket, inner)
    if (length < 0) return count('not-authentic')
    const type = outPacket[inner + 1]
    if (type === PACKET) return deliverPacket(frame, length)
    if (type === OOB_ICMP) return deliverError(frame, Buffer.from(outPacket.subarray(HEADROOM, HEADROOM + length)))
    count('unknown-inner-type')
  }

  /** The packet in `outPacket`: what it says inside must be what the frame said outside. */
  function deliverPacket(frame: Buffer, length: number) {
    const packet = outPacket.subarray(HEADROOM, HEADROOM + length)
    if (length < IPV6_HEADER || packet[0]! >> 4 !== 6 || IPV6_HEADER + packet.readUInt16BE(4) !== length)
      return count('bad-inner-packet')
    // source and destination lie side by side in both headers
    if (packet.compare(frame, SOURCE_AT, SOURCE_AT + 32, 8, 40) !== 0) return count('spoofed')
    if (packet.compare(identity.address, 0, 16, 24, 40) !== 0) return count('not-here')
    packet[7] = frame[HOP_LIMIT_AT]!
    if (intercept(packet)) return
    toTun(outPacket, HEADROOM, length)
  }

  /** An error about a frame we sent: only who quotes a body that we sealed is believed. */
  function deliverError(frame: Buffer, payload: Buffer) {
    const oob = readOob(payload)
    if (!oob?.reporter.equals(frame.subarray(SOURCE_AT, SOURCE_AT + 16))) return count('bad-error')
    const sealer = remotes.sealer(subnetOf(oob.destination))
    const inner = HEADROOM - INNER_HEADER
    const length = sealer?.open(oob.body, 0, oob.body.length, outPacket, inner) ?? -1
    const original = outPacket.subarray(HEADROOM, HEADROOM + Math.max(length, 0))
    // an error too large to quote the body says nothing about which packet it was: it is of no use to the kernel
    if (
      length < IPV6_HEADER ||
      outPacket[inner + 1] !== PACKET ||
      original.compare(identity.address, 0, 16, 8, 24) !== 0
    )
      return count('bad-error')
    const answer = icmpError(oob.reporter, identity.address, oob.error, original)
    if (!intercept(answer)) toTun(answer, 0, answer.length)
  }

  return {
    counters,
    pending,
    remotes,
    receive,

    /** Takes over the TUN descriptor; `readTun` is to be called whenever it is readable. */
    attach(fd: number): void {
      tun = fd
    },

    readTun(): void {
      for (let i = 0; i < BATCH; i++) {
        const n = readFd(tun, inPacket, HEADROOM, MAX_PACKET)
        if (n <= 0) return
        send(inPacket, HEADROOM, n)
      }
    },

    /** Sends a packet made here. */
    sendOwn(packet: Buffer): void {
      packet.copy(inPacket, HEADROOM)
      send(inPacket, HEADROOM, packet.length)
    },

    /** What waited for SUBNET moves on. */
    routeFound(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      if (!waiting) return
      for (const packet of waiting.packets) {
        packet.copy(inPacket, HEADROOM)
        send(inPacket, HEADROOM, packet.length)
      }
      for (const frame of waiting.frames) {
        if (subnetOf(frame, DESTINATION_AT) === identity.subnet) deliver(frame)
        else {
          const route = router.lookup(subnet, now())
          if (route) forward(frame, route, now())
        }
      }
    },

    routeMissing(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      if (!waiting) return
      for (const packet of waiting.packets) refuse(packet, noRoute, 'no-route')
      for (const frame of waiting.frames)
        if (subnetOf(frame, DESTINATION_AT) !== identity.subnet) report(frame, noRoute, 'no-route')
    },

    /** Once a second. */
    tick(): void {
      errorsLeft = ERRORS_PER_SECOND
    },
  }
}
