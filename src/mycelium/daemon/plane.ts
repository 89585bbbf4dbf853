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
import { ANSWER, ASK, CAPABILITY, createLarge, LARGE, LARGE_HEADER, LARGEST, PATH_MARK, PATH_MARK_AT } from './large.ts'
import {
  clearVnet,
  createCoalescer,
  cutTcp,
  finishChecksum,
  type Offload,
  type PacketBuffer,
  packetBuffer,
  readVnet,
  tcpHeaders,
  VNET_HEADER,
  writeGso,
} from './offload.ts'
import { createPending } from './pending.ts'
import { createRemotes } from './remotes.ts'

/** Room before a packet for what sealing and the TUN write there. */
const HEADROOM = 64
const MAX_PACKET = 0xffff
/** Packets read from the TUN before others get their turn. */
const BATCH = 64
/** Upstream's MTU: what a packet may weigh on any path of the public network. */
export const MTU = 1400
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
  const large = createLarge()
  const incoming = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)
  const outgoing = packetBuffer(HEADROOM + IPV6_HEADER + MAX_PACKET + 1)
  const outPacket = outgoing.bytes
  const coalescer = createCoalescer(HEADROOM, (packet, length) => toTun(packet.bytes, HEADROOM, length))
  let tun = -1
  let errorsLeft = ERRORS_PER_SECOND

  /** The ten bytes before AT say how the kernel is to treat it. */
  function toTun(packet: Buffer, at: number, length: number) {
    if (tun < 0) return
    const n = writeFd(tun, packet, at - VNET_HEADER, length + VNET_HEADER)
    if (n < 0) count(n === -EAGAIN ? 'tun-full' : 'tun-refused')
  }

  /** A packet made here, for this machine. */
  function toSelf(packet: Buffer) {
    if (intercept(packet)) return
    packet.copy(outPacket, HEADROOM)
    clearVnet(outPacket, HEADROOM)
    toTun(outPacket, HEADROOM, packet.length)
  }

  /** Answers a packet of this machine with an error, as a router on the way would. */
  function refuse(packet: Buffer, error: IcmpError, name: string) {
    count(name)
    if (isIcmpError(packet)) return
    toSelf(icmpError(identity.address, packet.subarray(8, 24), error, packet))
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
    if (type >= CAPABILITY) out[place_ + PATH_MARK_AT] = PATH_MARK
    sealer.seal(type, bytes, at, length, out, place_ + BODY_AT)
    to.queue.commit(place_, size)
    to.dirty = true
    return true
  }

  /** Sends a packet of this machine; a large one is to be cut to OFFLOAD's size on the way or at its end. */
  function send(packet_: PacketBuffer, at: number, length: number, offload?: Offload) {
    const { bytes } = packet_
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
    const gso = offload?.gsoSize ?? 0
    if (!route) {
      // a large packet belongs to a connection, which sends it again
      const waits = router.want(subnet, time) && (gso > 0 || pending.putPacket(subnet, packet))
      if (!waits) refuse(packet, noRoute, 'no-route')
      return
    }
    // the ports, where there are any, are the first word after the header
    const flow = hashRange(packet, 8, Math.min(IPV6_HEADER + 4, length), packet[6])
    const first = flows.isQuiet(flow, length, time)
    const head = { source: identity.address, destination: Buffer.from(destination), hopLimit: hopLimit - 1, first }
    if (gso === 0) {
      if (!sealTo(subnet, route, PACKET, bytes, at, length, head)) refuse(packet, noRoute, 'no-key')
      return
    }
    const headers = tcpHeaders(bytes, at, length)
    if (headers === 0 || offload?.ecn) return count('odd-offload')
    const room = large.size(subnet, time, () => sayCapability(subnet, route, ASK, LARGEST, head.destination)) - headers
    if (room < gso) {
      cutTcp(packet_, at, length, headers, gso, true, (part, n) => sealTo(subnet, route, PACKET, bytes, part, n, head))
      return
    }
    cutTcp(packet_, at, length, headers, room - (room % gso), false, (part, n) => {
      const start = part - LARGE_HEADER
      bytes.writeUInt16BE(gso, start)
      bytes.writeUInt16BE(0, start + 2)
      sealTo(subnet, route, LARGE, bytes, start, n + LARGE_HEADER, head)
    })
  }

  function sayCapability(subnet: Subnet, route: Route, kind: number, largest: number, destination: Buffer) {
    const payload = Buffer.from([0, 0, 0, 0, kind, 0, largest >> 8, largest & 0xff])
    const head = { source: identity.address, destination, hopLimit: 63, first: true }
    sealTo(subnet, route, CAPABILITY, payload, INNER_HEADER, LARGE_HEADER, head)
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
    if (type === LARGE) return deliverLarge(frame, length)
    if (type === CAPABILITY) return deliverCapability(frame, subnet, length)
    if (type === OOB_ICMP) return deliverError(frame, Buffer.from(outPacket.subarray(HEADROOM, HEADROOM + length)))
    count('unknown-inner-type')
  }

  /** The packet at outPacket[at]: what it says inside must be what the frame said outside. */
  function checkPacket(frame: Buffer, at: number, length: number): boolean {
    let fault = ''
    if (length < IPV6_HEADER || outPacket[at]! >> 4 !== 6 || IPV6_HEADER + outPacket.readUInt16BE(at + 4) !== length)
      fault = 'bad-inner-packet'
    // source and destination lie side by side in both headers
    else if (outPacket.compare(frame, SOURCE_AT, SOURCE_AT + 32, at + 8, at + 40) !== 0) fault = 'spoofed'
    else if (outPacket.compare(identity.address, 0, 16, at + 24, at + 40) !== 0) fault = 'not-here'
    if (fault) count(fault)
    else outPacket[at + 7] = frame[HOP_LIMIT_AT]!
    return fault === ''
  }

  function deliverPacket(frame: Buffer, length: number) {
    if (!checkPacket(frame, HEADROOM, length)) return
    if (coalescer.take(outPacket, HEADROOM, length)) return
    coalescer.flush()
    if (intercept(outPacket.subarray(HEADROOM, HEADROOM + length))) return
    clearVnet(outPacket, HEADROOM)
    toTun(outPacket, HEADROOM, length)
  }

  /** A packet the sender's kernel had not cut: ours cuts it. Nothing of its offload header is taken on trust. */
  function deliverLarge(frame: Buffer, length: number) {
    const at = HEADROOM + LARGE_HEADER
    const total = length - LARGE_HEADER
    if (total < 0 || !checkPacket(frame, at, total)) return
    const headers = tcpHeaders(outPacket, at, total)
    const size = outPacket.readUInt16BE(HEADROOM)
    if (headers === 0 || size === 0 || headers + size > MTU) return count('bad-large-packet')
    coalescer.flush()
    writeGso(outgoing, at, headers, total - IPV6_HEADER, total - headers > size ? size : 0)
    toTun(outPacket, at, total)
  }

  function deliverCapability(frame: Buffer, subnet: Subnet, length: number) {
    if (length < LARGE_HEADER) return count('bad-capability')
    const largest = outPacket.readUInt16BE(HEADROOM + 2)
    const kind = outPacket[HEADROOM]
    if (kind === ANSWER) return large.answered(subnet, largest, now())
    const route = router.lookup(subnet, now())
    if (kind !== ASK || !route || errorsLeft-- <= 0) return
    const whole = frame[PATH_MARK_AT] === PATH_MARK && tun >= 0
    sayCapability(subnet, route, ANSWER, whole ? LARGEST : 0, Buffer.from(frame.subarray(SOURCE_AT, SOURCE_AT + 16)))
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
    toSelf(icmpError(oob.reporter, identity.address, oob.error, original))
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
        const n = readFd(tun, incoming.bytes, HEADROOM - VNET_HEADER, VNET_HEADER + IPV6_HEADER + MAX_PACKET)
        if (n <= 0) return
        const length = n - VNET_HEADER
        const offload = readVnet(incoming.bytes, HEADROOM)
        const whole = offload?.gsoSize === 0 && offload.checksumStart > 0
        if (!offload || (whole && !finishChecksum(incoming, HEADROOM, length, offload))) count('odd-offload')
        else send(incoming, HEADROOM, length, offload)
      }
    },

    /** Hands over what was held back to be joined: at the end of each turn. */
    flush: (): void => coalescer.flush(),

    /** Sends a packet made here. */
    sendOwn(packet: Buffer): void {
      packet.copy(incoming.bytes, HEADROOM)
      send(incoming, HEADROOM, packet.length)
    },

    /** What waited for SUBNET moves on. */
    routeFound(subnet: Subnet): void {
      const waiting = pending.take(subnet)
      if (!waiting) return
      for (const packet of waiting.packets) {
        packet.copy(incoming.bytes, HEADROOM)
        send(incoming, HEADROOM, packet.length)
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
