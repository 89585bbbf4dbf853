import { isOverlay, subnetOf } from '../address.ts'
import { MTU } from '../wire/frame.ts'
import {
  addressUnreachable,
  type IcmpError,
  IPV6_HEADER,
  icmpError,
  isIcmpError,
  noRoute,
  sourcePolicy,
  timeExceeded,
  tooBig,
} from '../wire/icmp.ts'
import { ASK, LARGE, LARGE_HEADER, LARGEST } from '../wire/large.ts'
import { PACKET } from '../wire/seal.ts'
import { hashRange } from './flows.ts'
import { UNKNOWN } from './large.ts'
import type { Local } from './local.ts'
import { cutTcp, type Offload, type PacketBuffer, tcpHeaders } from './offload.ts'
import type { PlaneContext } from './plane-context.ts'
import type { Way } from './sealing.ts'

/** With what a large packet is to be cut to, 0 for others. */
type PacketWay = Way & { segment: number }

/** What this machine's kernel and virtual machines send: to a peer, or to each other. */
export function createOutbound(
  context: PlaneContext,
  toSelf: (local: Local, packet: Buffer) => void,
  toNeighbour: (to: Local, packet: PacketBuffer, at: number, length: number, offload?: Offload) => void,
) {
  const { node, locals, router, pending, flows, unreached, count } = context

  /**
   * The way of the packet being sent. Sending nests: a connection that ends in the middle of it sets packets free that waited
   * for another route. So there is one object for each depth, made once.
   */
  const ways: PacketWay[] = []
  let depth = 0

  /** Answers a packet of a local with an error, as a router on the way would. */
  function refuse(local: Local, bytes: Buffer, at: number, length: number, error: IcmpError, name: string): void {
    count(name)
    const packet = bytes.subarray(at, at + length)
    if (packet.length >= IPV6_HEADER) unreached.here(subnetOf(packet, 24), name)
    if (!isIcmpError(packet)) toSelf(local, icmpError(node.identity.address, packet.subarray(8, 24), error, packet))
  }

  const isOwn = ({ identity, port }: Local, bytes: Buffer, at: number): boolean => {
    const length = port?.wholeSubnet ? 8 : 16
    return bytes.compare(identity.address, 0, length, at, at + length) === 0
  }

  /** False for a packet that must not be sent, already answered and counted. */
  function checked(local: Local, bytes: Buffer, at: number, length: number): boolean {
    if (length < IPV6_HEADER || bytes[at]! >> 4 !== 6) count('not-ipv6')
    else if (IPV6_HEADER + bytes.readUInt16BE(at + 4) !== length) count('bad-length')
    // multicast and the like: routers and neighbours are looked for on every interface
    else if (!isOverlay(bytes[at + 24]!) || !isOverlay(bytes[at + 8]!)) count('not-overlay')
    else if (!isOwn(local, bytes, at + 8)) refuse(local, bytes, at, length, sourcePolicy, 'foreign-source')
    else if (bytes.compare(local.identity.address, 0, 8, at + 24, at + 32) === 0)
      refuse(local, bytes, at, length, addressUnreachable, 'own-subnet')
    else if (bytes[at + 7]! < 2) refuse(local, bytes, at, length, timeExceeded, 'hop-limit')
    else return true
    return false
  }

  /** Sends the packet at AT; with a segment size in OFFLOAD a large one, to be cut on the way or at its end. */
  function send(local: Local, buffer: PacketBuffer, at: number, length: number, offload?: Offload): void {
    const { bytes } = buffer
    if (!checked(local, bytes, at, length)) return
    const time = context.now()
    const subnet = subnetOf(bytes, at + 24)
    const neighbour = locals.get(subnet)
    if (neighbour) {
      bytes[at + 7]!--
      if (!isOwn(neighbour, bytes, at + 24)) refuse(local, bytes, at, length, addressUnreachable, 'not-here')
      else toNeighbour(neighbour, buffer, at, length, offload)
      return
    }
    const route = router.use(subnet, time)
    const segment = offload?.gsoSize ?? 0
    if (!route) {
      // a large packet belongs to a connection, which sends it again
      const isSought = router.want(subnet, time)
      const waits = isSought && (segment > 0 || pending.putPacket(subnet, bytes.subarray(at, at + length)))
      if (!waits) refuse(local, bytes, at, length, noRoute, 'no-route')
      return
    }
    // addresses and, where there are any, the ports: the first word after the header
    const flow = hashRange(bytes, at + 8, at + Math.min(IPV6_HEADER + 4, length), bytes[at + 6])
    ways[depth] ??= { local, subnet, route, addresses: bytes, addressesAt: 0, hopLimit: 0, first: false, segment: 0 }
    const way = ways[depth++]!
    way.local = local
    way.subnet = subnet
    way.route = route
    way.addresses = bytes
    way.addressesAt = at + 8
    way.hopLimit = bytes[at + 7]! - 1
    way.first = flows.isQuiet(flow, length, time)
    way.segment = segment
    if (segment === 0) sendWhole(way, bytes, at, length)
    else if (offload?.ecn) count('odd-offload')
    else sendSegments(way, buffer, at, length)
    depth--
  }

  /** Who is known to speak the public protocol only is not even asked. */
  function largest(way: Way): number {
    const remote = way.local.remotes.get(way.subnet)
    if (!remote?.session) return 0
    const now = context.now()
    if (remote.large.isToBeAsked(now)) context.sayCapability(way, ASK, LARGEST)
    return remote.large.size(now)
  }

  function sendWhole(way: Way, bytes: Buffer, at: number, length: number): void {
    // asked before it is needed: the first large packet finds the answer
    const room = length > MTU || way.local.port?.uncut ? largest(way) : MTU
    if (length > MTU && room === UNKNOWN) count('size-unknown')
    else if (length > Math.max(room, MTU)) refuse(way.local, bytes, at, length, tooBig(Math.max(room, MTU)), 'too-big')
    else if (!context.sealTo(way, PACKET, bytes, at, length)) refuse(way.local, bytes, at, length, noRoute, 'no-key')
  }

  /** Cut here for nodes that are not ours, in as few pieces as the path allows for ours. */
  function sendSegments(way: PacketWay, buffer: PacketBuffer, at: number, length: number): void {
    const { bytes } = buffer
    const { segment } = way
    const headers = tcpHeaders(bytes, at, length)
    if (headers === 0) {
      count('odd-offload')
      return
    }
    const room = largest(way) - headers
    if (room < segment) cutTcp(buffer, at, length, headers, segment, true, sealPart, way)
    else cutTcp(buffer, at, length, headers, room - (room % segment), false, sealLarge, way)
  }

  function sealPart(bytes: Buffer, at: number, length: number, way: PacketWay): void {
    context.sealTo(way, PACKET, bytes, at, length)
  }

  function sealLarge(bytes: Buffer, at: number, length: number, way: PacketWay): void {
    const start = at - LARGE_HEADER
    bytes.writeUInt16BE(way.segment, start)
    bytes.writeUInt16BE(0, start + 2)
    context.sealTo(way, LARGE, bytes, start, length + LARGE_HEADER)
  }

  return { send, refuse }
}
