import type { Port } from '../daemon/local.ts'
import { finishChecksum, noOffload, type PacketBuffer, packetBuffer, readVnet } from '../daemon/offload.ts'
import { HEADROOM } from '../daemon/plane-context.ts'
import type { PortHooks } from '../daemon/ports.ts'
import { adminProhibited, IPV6_HEADER, icmpError, isIcmpError } from '../wire/icmp.ts'
import { LARGEST } from '../wire/large.ts'
import { createBucket } from './bucket.ts'
import { cardWire } from './card.ts'
import { createEgress } from './egress.ts'
import { createFirewall } from './firewall.ts'
import { createGateway } from './gateway.ts'
import { ARP, createLink, isOfLink } from './link.ts'
import { mappingOf } from './mapping.ts'
import { gatewayOf, IPV4_GATEWAY, LINK_MTU, type NicSpec } from './network.ts'
import { readUpper, UDP, type Upper } from './packet.ts'
import { createSiblings, SIBLINGS_PORT } from './siblings.ts'
import { errorToIpv4, GROWTH, IPV4_HEADER, toIpv4, toIpv6 } from './translate.ts'
import { ETHERNET, type Wire } from './wire.ts'

const IPV4 = 0x0800
const IPV6 = 0x86dd
/** Locally administered, the node's end of every card's link. */
const OUR_MAC = Buffer.from('027a6f730001', 'hex')
/** Every guest's, until it says another (`vm/args.ts`). To a broadcast address TCP would not listen. */
const GUEST_MAC = Buffer.from('027a6f730002', 'hex')
const MULTICAST = 0xff
/** Refusals told per second, to this card's guest and to those who try to reach it. */
const REFUSALS = 50
const offload = noOffload()
const upper: Upper = { protocol: 0, at: 0, sourcePort: 0, destinationPort: 0 }

/**
 * The network card of a virtual machine as a port: Ethernet on a unix socket whose other end is QEMU, packets in between
 * under the firewall of its network. While no machine answers there, packets for it vanish; `tick` looks again.
 */
export function nicPort(spec: NicSpec, { reactor, identity, count, openCard, send }: PortHooks): Port {
  const siblings = createSiblings(identity.address, spec.network, performance.now())
  const firewall = createFirewall(spec.network, reactor.now)
  const gateway = gatewayOf(identity.address)
  const map = mappingOf(spec.network, identity.address)
  /** What stands for the IPv4 addresses of the guest and of the node's end of the link. */
  const own4 = map?.toIpv6(map.own)
  const gateway4 = map?.toIpv6(IPV4_GATEWAY)
  const guestMac = Buffer.from(GUEST_MAC)
  const link = createLink({
    own: identity.address,
    own4: map?.own,
    gateway,
    domain: spec.network.domain,
    mac: OUR_MAC,
  })
  const egress =
    spec.network.egress && map
      ? createEgress({
          reactor,
          own: map.own,
          ours: OUR_MAC,
          guests: GUEST_MAC,
          count,
          toGuest: (bytes, at, length) => put(IPV4, bytes, at, length),
          made,
          headroom: HEADROOM,
        })
      : undefined
  let ours = createGateway(spec.network, { forward: egress?.ask })
  const traffic = { sent: 0, received: 0, ...(egress ? { outside: egress.traffic } : {}) }
  const bucket = spec.network.rate === undefined ? undefined : createBucket(spec.network.rate, reactor.now)
  let refusals = REFUSALS
  let nextSecond = 0
  let heldUntil = 0
  let wire: Wire | undefined
  let mtu = LINK_MTU.socket

  let isDialling = false
  let isClosed = false

  function dial(): void {
    if (isDialling) return
    isDialling = true
    openCard({ path: spec.path, limited: spec.network.rate !== undefined }, (opened) => {
      isDialling = false
      if (opened?.kind === 'tap') mtu = LINK_MTU.tap
      wire = cardWire(reactor, opened, {
        frame: fromGuest,
        closed: () => {
          wire = undefined
        },
        count,
      })
      if (isClosed) wire?.close()
      // who is above its rate stays held
      else if (heldUntil > 0) wire?.pause()
    })
  }

  const isTo = (bytes: Buffer, at: number, address: Buffer | undefined): boolean =>
    address !== undefined && bytes.compare(address, 0, 16, at + 24, at + 40) === 0

  /** The packet at AT to the guest, as IPv4 if it is for its IPv4 address. */
  function toGuest(bytes: Buffer, at: number, length: number): void {
    if (!map || !isTo(bytes, at, own4)) put(IPV6, bytes, at, length)
    else if (isIcmpError(bytes, at, length)) {
      const error = errorToIpv4(bytes.subarray(at, at + length), map)
      if (error) put(IPV4, Buffer.concat([Buffer.alloc(HEADROOM), error]), HEADROOM, error.length)
    } else {
      const translated = toIpv4(bytes, at, length, map)
      if (translated > 0) put(IPV4, bytes, at + GROWTH, translated)
      else count('ipv4-untranslated')
    }
  }

  /** A frame of TYPE around the packet at AT: its Ethernet header is put before it. */
  function put(type: number, bytes: Buffer, at: number, length: number): void {
    const frame = at - ETHERNET
    guestMac.copy(bytes, frame)
    OUR_MAC.copy(bytes, frame + 6)
    bytes.writeUInt16BE(type, frame + 12)
    if (!wire) return
    if (wire.send(bytes, frame, ETHERNET + length)) traffic.received += length
    else count('nic-full')
  }

  const withRoom = (packet: Buffer): Buffer => Buffer.concat([Buffer.alloc(HEADROOM), packet])

  function made(packet: Buffer): void {
    toGuest(withRoom(packet), HEADROOM, packet.length)
  }

  /** What the guest asks of its link, as a frame of TYPE: answered there, whoever it says it is. */
  function ofLink(type: number, bytes: Buffer, at: number, room: number): void {
    const answer = type === ARP ? link.answerArp(bytes, at, room, IPV4_GATEWAY) : link.answer(bytes, at, room, mtu)
    if (answer) put(type, withRoom(answer), HEADROOM, answer.length)
  }

  /** Asked of the node's end of the link. */
  function askedOfUs(bytes: Buffer, at: number, length: number): void {
    const answer = ours.answer(bytes, at, length)
    if (answer) made(answer)
  }

  /** Tells the sender of a packet, some times a second, that it may not. */
  function refuse(from: Buffer, packet: Buffer, tell: (error: Buffer) => void): void {
    if (isIcmpError(packet) || refusals-- <= 0) return
    tell(icmpError(from, packet.subarray(8, 24), adminProhibited, packet))
  }

  /** Decides and answers names by whom the rules mean now. */
  function follow(): void {
    firewall.reform(siblings.network)
    ours = createGateway(siblings.network, { forward: egress?.ask })
  }

  /** The node's end of another card's link tells who is with it now. */
  function introduced(bytes: Buffer, at: number, length: number): void {
    const packet = bytes.subarray(at, at + length)
    const source = packet.subarray(8, 24)
    const isSaid =
      readUpper(bytes, at, length, upper) && upper.protocol === UDP && upper.destinationPort === SIBLINGS_PORT
    if (!isSaid || !source.equals(gatewayOf(source))) count('not-here')
    else if (siblings.heard(source, bytes.subarray(upper.at, at + length), reactor.now)) follow()
  }

  function tellOther(error: Buffer): void {
    const copy = packetBuffer(HEADROOM + error.length + 1)
    error.copy(copy.bytes, HEADROOM)
    send(copy, HEADROOM, error.length)
  }

  function fromGuest(frame: PacketBuffer, at: number, frameLength: number): void {
    const { bytes } = frame
    const type = bytes.readUInt16BE(at + 12)
    const packet = at + ETHERNET
    const room = frameLength - ETHERNET
    bytes.copy(guestMac, 0, at + 6, at + 12)
    if (type === IPV4 && egress && isBeyond(bytes, packet, room)) {
      if (egress.send(bytes, packet, room, reactor.now)) charge(room)
    } else if (type === IPV4 && map) {
      const length = toIpv6(bytes, packet, room, map)
      if (length > 0) ipv6FromGuest(frame, packet - GROWTH, length)
      else count('ipv4-untranslated')
    } else if (type === ARP || (type === IPV6 && isOfLink(bytes, packet, room))) ofLink(type, bytes, packet, room)
    else if (type !== IPV6 || room < IPV6_HEADER) count('nic-not-ip')
    // multicast: nobody else is on the link
    else if (bytes[packet + 24] === MULTICAST) return
    else if (bytes.compare(identity.address, 0, 16, packet + 8, packet + 24) !== 0) count('foreign-source')
    // what a card sends may be longer than the packet in it
    else ipv6FromGuest(frame, packet, Math.min(room, IPV6_HEADER + bytes.readUInt16BE(packet + 4)))
  }

  /** Counts what the guest sent; above its rate nothing more is read from its card for a while. */
  function charge(length: number): void {
    traffic.sent += length
    if (bucket?.take(length, reactor.now) !== false) return
    heldUntil = bucket.paidAt()
    wire?.pause()
  }

  /** True for an IPv4 packet to an address that is none of the network's range. */
  const isBeyond = (bytes: Buffer, at: number, room: number): boolean =>
    room >= IPV4_HEADER && bytes.readInt32BE(at + 16) >> 8 !== IPV4_GATEWAY >> 8

  function ipv6FromGuest(frame: PacketBuffer, at: number, length: number): void {
    const { bytes } = frame
    if (isTo(bytes, at, gateway) || isTo(bytes, at, gateway4)) {
      askedOfUs(bytes, at, length)
      return
    }
    const verdict = firewall.out(bytes, at, length, reactor.now)
    if (verdict === '') {
      charge(length)
      send(frame, at, length)
    } else {
      count(verdict)
      refuse(gateway, bytes.subarray(at, at + length), made)
    }
  }

  dial()
  return {
    largest: LARGEST,
    wholeSubnet: true,
    uncut: true,
    traffic,
    write(packet: PacketBuffer, at: number, length: number) {
      const { bytes } = packet
      if (isTo(bytes, at, gateway)) {
        introduced(bytes, at, length)
        return
      }
      if (readVnet(bytes, at, offload) && offload.checksumStart > 0) finishChecksum(packet, at, length, offload)
      const here = isTo(bytes, at, identity.address) || isTo(bytes, at, own4)
      const verdict = here ? firewall.in(bytes, at, length, reactor.now) : 'not-here'
      if (verdict === '') {
        toGuest(bytes, at, length)
        return
      }
      count(verdict)
      // strangers hear nothing
      if (verdict === 'not-declared') refuse(identity.address, bytes.subarray(at, at + length), tellOther)
    },
    tick(now: number) {
      if (now >= nextSecond) {
        nextSecond = now + 1_000
        refusals = REFUSALS
        if (!wire) dial()
      }
      const next = Math.min(nextSecond, siblings.tick(now, tellOther))
      if (heldUntil === 0) return next
      if (now < heldUntil) return Math.min(heldUntil, next)
      heldUntil = 0
      wire?.resume()
      return heldUntil || next
    },
    reform(network) {
      siblings.reform(network, performance.now())
      follow()
    },
    ...(egress ? { egress: egress.take } : {}),
    close() {
      isClosed = true
      wire?.close()
      egress?.close()
    },
  }
}
