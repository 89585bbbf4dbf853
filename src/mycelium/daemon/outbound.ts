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

export type Outbound = ReturnType<typeof createOutbound>

/** What this machine's kernel and virtual machines send: to a peer, or to each other. */
export function createOutbound(
  context: PlaneContext,
  toSelf: (local: Local, packet: Buffer) => void,
  toNeighbour: (to: Local, packet: PacketBuffer, at: number, length: number, offload?: Offload) => void,
) {
  const { node, locals, router, pending, flows, unreached, count } = context

  /** Answers a packet of a local with an error, as a router on the way would. */
  function refuse(local: Local, packet: Buffer, error: IcmpError, name: string): void {
    count(name)
    if (packet.length >= IPV6_HEADER) unreached.here(subnetOf(packet, 24), name)
    if (!isIcmpError(packet)) toSelf(local, icmpError(node.identity.address, packet.subarray(8, 24), error, packet))
  }

  const isOwn = ({ identity, port }: Local, bytes: Buffer, at: number): boolean => {
    const length = port?.wholeSubnet ? 8 : 16
    return bytes.compare(identity.address, 0, length, at, at + length) === 0
  }

  /** False for a packet that must not be sent, already answered and counted. */
  function checked(local: Local, bytes: Buffer, at: number, length: number): boolean {
    // a view is made of what is refused alone
    const no = (error: IcmpError, name: string) => refuse(local, bytes.subarray(at, at + length), error, name)
    if (length < IPV6_HEADER || bytes[at]! >> 4 !== 6) count('not-ipv6')
    else if (IPV6_HEADER + bytes.readUInt16BE(at + 4) !== length) count('bad-length')
    // multicast and the like: routers and neighbours are looked for on every interface
    else if (!isOverlay(bytes[at + 24]!) || !isOverlay(bytes[at + 8]!)) count('not-overlay')
    else if (!isOwn(local, bytes, at + 8)) no(sourcePolicy, 'foreign-source')
    else if (bytes.compare(local.identity.address, 0, 8, at + 24, at + 32) === 0) no(addressUnreachable, 'own-subnet')
    else if (bytes[at + 7]! < 2) no(timeExceeded, 'hop-limit')
    else return true
    return false
  }

  /** Sends the packet at AT; with a segment size in OFFLOAD a large one, to be cut on the way or at its end. */
  function send(local: Local, buffer: PacketBuffer, at: number, length: number, offload?: Offload): void {
    const { bytes } = buffer
    if (!checked(local, bytes, at, length)) return
    const packet = () => bytes.subarray(at, at + length)
    const time = context.now()
    const subnet = subnetOf(bytes, at + 24)
    const neighbour = locals.get(subnet)
    if (neighbour) {
      bytes[at + 7]!--
      if (!isOwn(neighbour, bytes, at + 24)) refuse(local, packet(), addressUnreachable, 'not-here')
      else toNeighbour(neighbour, buffer, at, length, offload)
      return
    }
    const route = router.use(subnet, time)
    const segment = offload?.gsoSize ?? 0
    if (!route) {
      // a large packet belongs to a connection, which sends it again
      const waits = router.want(subnet, time) && (segment > 0 || pending.putPacket(subnet, packet()))
      if (!waits) refuse(local, packet(), noRoute, 'no-route')
      return
    }
    // addresses and, where there are any, the ports: the first word after the header
    const flow = hashRange(bytes, at + 8, at + Math.min(IPV6_HEADER + 4, length), bytes[at + 6])
    const way: Way = {
      local,
      subnet,
      route,
      addresses: bytes,
      addressesAt: at + 8,
      hopLimit: bytes[at + 7]! - 1,
      first: flows.isQuiet(flow, length, time),
    }
    if (segment === 0) sendWhole(way, bytes, at, length)
    else if (offload?.ecn) count('odd-offload')
    else sendSegments(way, buffer, at, length, segment)
  }

  /** Who is known to speak the public protocol only is not even asked. */
  function largest(way: Way): number {
    const remote = way.local.remotes.get(way.subnet)
    if (!remote?.session) return 0
    return remote.large.size(context.now(), () => context.sayCapability(way, ASK, LARGEST))
  }

  function sendWhole(way: Way, bytes: Buffer, at: number, length: number): void {
    // asked before it is needed: the first large packet finds the answer
    const room = length > MTU || way.local.port?.uncut ? largest(way) : MTU
    const no = (error: IcmpError, name: string) => refuse(way.local, bytes.subarray(at, at + length), error, name)
    if (length > MTU && room === UNKNOWN) count('size-unknown')
    else if (length > Math.max(room, MTU)) no(tooBig(Math.max(room, MTU)), 'too-big')
    else if (!context.sealTo(way, PACKET, bytes, at, length)) no(noRoute, 'no-key')
  }

  /** Cut here for nodes that are not ours, in as few pieces as the path allows for ours. */
  function sendSegments(way: Way, buffer: PacketBuffer, at: number, length: number, segment: number): void {
    const { bytes } = buffer
    const headers = tcpHeaders(bytes, at, length)
    if (headers === 0) {
      count('odd-offload')
      return
    }
    const room = largest(way) - headers
    if (room < segment) {
      cutTcp(buffer, at, length, headers, segment, true, (part, n) => context.sealTo(way, PACKET, bytes, part, n))
      return
    }
    cutTcp(buffer, at, length, headers, room - (room % segment), false, (part, n) => {
      const start = part - LARGE_HEADER
      bytes.writeUInt16BE(segment, start)
      bytes.writeUInt16BE(0, start + 2)
      context.sealTo(way, LARGE, bytes, start, n + LARGE_HEADER)
    })
  }

  return { send, refuse }
}
