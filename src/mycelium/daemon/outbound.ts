import { isOverlay, subnetOf } from '../address.ts'
import {
  addressUnreachable,
  type IcmpError,
  IPV6_HEADER,
  icmpError,
  isIcmpError,
  noRoute,
  sourcePolicy,
  timeExceeded,
} from '../wire/icmp.ts'
import { ASK, LARGE, LARGE_HEADER, LARGEST } from '../wire/large.ts'
import { PACKET } from '../wire/seal.ts'
import { hashRange } from './flows.ts'
import { cutTcp, type Offload, type PacketBuffer, tcpHeaders } from './offload.ts'
import type { FrameHead, PlaneContext } from './plane-context.ts'

/** Packets of this machine, on their way to a peer. */
export function createOutbound(context: PlaneContext, toSelf: (packet: Buffer) => void) {
  const { identity, router, pending, flows, large, count } = context

  /** Answers a packet of this machine with an error, as a router on the way would. */
  function refuse(packet: Buffer, error: IcmpError, name: string) {
    count(name)
    if (!isIcmpError(packet)) toSelf(icmpError(identity.address, packet.subarray(8, 24), error, packet))
  }

  /** The first reason not to send PACKET, already answered and counted; else undefined. */
  function checked(packet: Buffer): boolean {
    if (packet.length < IPV6_HEADER || packet[0]! >> 4 !== 6) count('not-ipv6')
    else if (IPV6_HEADER + packet.readUInt16BE(4) !== packet.length) count('bad-length')
    // multicast and the like: routers and neighbours are looked for on every interface
    else if (!isOverlay(packet[24]!) || !isOverlay(packet[8]!)) count('not-overlay')
    else if (packet.compare(identity.address, 0, 16, 8, 24) !== 0) refuse(packet, sourcePolicy, 'foreign-source')
    else if (packet.compare(identity.address, 0, 8, 24, 32) === 0) refuse(packet, addressUnreachable, 'own-subnet')
    else if (packet[7]! < 2) refuse(packet, timeExceeded, 'hop-limit')
    else return true
    return false
  }

  /** Sends the packet at AT; with OFFLOAD a large one, to be cut on the way or at its end. */
  function send(buffer: PacketBuffer, at: number, length: number, offload?: Offload): void {
    const { bytes } = buffer
    const packet = bytes.subarray(at, at + length)
    if (!checked(packet)) return
    const time = context.now()
    const subnet = subnetOf(packet, 24)
    const route = router.lookup(subnet, time)
    const segment = offload?.gsoSize ?? 0
    if (!route) {
      // a large packet belongs to a connection, which sends it again
      const waits = router.want(subnet, time) && (segment > 0 || pending.putPacket(subnet, packet))
      if (!waits) refuse(packet, noRoute, 'no-route')
      return
    }
    // addresses and, where there are any, the ports: the first word after the header
    const flow = hashRange(packet, 8, Math.min(IPV6_HEADER + 4, length), packet[6])
    const head: FrameHead = {
      source: identity.address,
      destination: Buffer.from(packet.subarray(24, 40)),
      hopLimit: packet[7]! - 1,
      first: flows.isQuiet(flow, length, time),
    }
    if (segment === 0) {
      if (!context.sealTo(subnet, route, PACKET, bytes, at, length, head)) refuse(packet, noRoute, 'no-key')
      return
    }
    const headers = tcpHeaders(bytes, at, length)
    if (headers === 0 || offload?.ecn) {
      count('odd-offload')
      return
    }
    const ask = () => context.sayCapability(subnet, route, ASK, LARGEST, head.destination)
    const room = large.size(subnet, time, ask) - headers
    if (room < segment) {
      cutTcp(buffer, at, length, headers, segment, true, (part, n) =>
        context.sealTo(subnet, route, PACKET, bytes, part, n, head),
      )
      return
    }
    cutTcp(buffer, at, length, headers, room - (room % segment), false, (part, n) => {
      const start = part - LARGE_HEADER
      bytes.writeUInt16BE(segment, start)
      bytes.writeUInt16BE(0, start + 2)
      context.sealTo(subnet, route, LARGE, bytes, start, n + LARGE_HEADER, head)
    })
  }

  return { send, refuse }
}
