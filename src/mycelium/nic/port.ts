import type { Port } from '../daemon/local.ts'
import { finishChecksum, type PacketBuffer, packetBuffer, readVnet } from '../daemon/offload.ts'
import { HEADROOM } from '../daemon/plane-context.ts'
import type { PortHooks } from '../daemon/ports.ts'
import { adminProhibited, IPV6_HEADER, icmpError, isIcmpError } from '../wire/icmp.ts'
import { LARGEST } from '../wire/large.ts'
import { createNames, DNS_PORT } from './dns.ts'
import { createFirewall } from './firewall.ts'
import { gatewayOf, type NicSpec } from './network.ts'
import { ICMPV6, ipv6Packet, readUpper, UDP, type Upper } from './packet.ts'
import { ETHERNET, LENGTH, openWire, type Wire } from './wire.ts'

const IPV6 = 0x86dd
/** Locally administered, the node's end of every card's link. */
const OUR_MAC = Buffer.from('027a6f730001', 'hex')
/** Every guest's, until it says another (`vm/args.ts`). To a broadcast address TCP would not listen. */
const GUEST_MAC = Buffer.from('027a6f730002', 'hex')
const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const MULTICAST = 0xff
/** Refusals told per second, to this card's guest and to those who try to reach it. */
const REFUSALS = 50

const upper: Upper = { protocol: 0, at: 0, sourcePort: 0, destinationPort: 0 }

/**
 * The network card of a virtual machine as a port: Ethernet on a unix socket whose other end is QEMU, packets in between
 * under the firewall of its network. While no machine answers there, packets for it vanish; `tick` looks again.
 */
export function nicPort(spec: NicSpec, { reactor, identity, count, send }: PortHooks): Port {
  const firewall = createFirewall(spec.network)
  const names = createNames(spec.network)
  const gateway = gatewayOf(identity.address)
  const guestMac = Buffer.from(GUEST_MAC)
  let refusals = REFUSALS
  let wire: Wire | undefined

  const dial = (): void => {
    wire = openWire(reactor, spec.path, HEADROOM, {
      frame: fromGuest,
      closed: () => {
        wire = undefined
      },
    })
  }

  /** The packet at AT to the guest, its length and Ethernet header put before it. */
  function toGuest(bytes: Buffer, at: number, length: number): void {
    const frame = at - ETHERNET
    bytes.writeUInt32BE(ETHERNET + length, frame - LENGTH)
    guestMac.copy(bytes, frame)
    OUR_MAC.copy(bytes, frame + 6)
    bytes.writeUInt16BE(IPV6, frame + 12)
    if (wire && !wire.send(bytes, frame - LENGTH, LENGTH + ETHERNET + length)) count('nic-full')
  }

  function made(packet: Buffer): void {
    const bytes = Buffer.alloc(HEADROOM + packet.length)
    packet.copy(bytes, HEADROOM)
    toGuest(bytes, HEADROOM, packet.length)
  }

  /** Asked of the node's end of the link: names, and whether it is there. */
  function askedOfUs(bytes: Buffer, at: number, length: number): void {
    if (!readUpper(bytes, at, length, upper)) return
    const { protocol, at: header, sourcePort, destinationPort } = upper
    const source = Buffer.from(bytes.subarray(at + 8, at + 24))
    if (protocol === UDP && destinationPort === DNS_PORT) {
      const reply = names.answerDatagram(bytes, header, at + length, source, gateway)
      if (reply) made(reply)
    } else if (protocol === ICMPV6 && sourcePort === ECHO_REQUEST) {
      const echo = Buffer.from(bytes.subarray(header, at + length))
      echo.writeUInt32BE(ECHO_REPLY * 2 ** 24)
      made(ipv6Packet(gateway, source, ICMPV6, echo, 2))
    } else refuse(gateway, bytes.subarray(at, at + length), made)
  }

  /** Tells the sender of a packet, some times a second, that it may not. */
  function refuse(from: Buffer, packet: Buffer, tell: (error: Buffer) => void): void {
    if (isIcmpError(packet) || refusals-- <= 0) return
    tell(icmpError(from, packet.subarray(8, 24), adminProhibited, packet))
  }

  function tellOther(error: Buffer): void {
    const copy = packetBuffer(HEADROOM + error.length + 1)
    error.copy(copy.bytes, HEADROOM)
    send(copy, HEADROOM, error.length)
  }

  function fromGuest(frame: PacketBuffer, at: number, frameLength: number): void {
    const { bytes } = frame
    const packet = at + ETHERNET
    if (bytes.readUInt16BE(at + 12) !== IPV6 || frameLength < ETHERNET + IPV6_HEADER) {
      count('nic-not-ipv6')
      return
    }
    // multicast: the guest's kernel looks for neighbours that are not there
    if (bytes[packet + 24] === MULTICAST) return
    bytes.copy(guestMac, 0, at + 6, at + 12)
    // what a card sends may be longer than the packet in it
    const length = Math.min(frameLength - ETHERNET, IPV6_HEADER + bytes.readUInt16BE(packet + 4))
    const ours = bytes.compare(gateway, 0, 16, packet + 24, packet + 40) === 0
    if (ours && bytes.compare(identity.address, 0, 16, packet + 8, packet + 24) === 0) {
      askedOfUs(bytes, packet, length)
      return
    }
    const verdict = firewall.out(bytes, packet, length, performance.now() / 1000)
    if (verdict === '') send(frame, packet, length)
    else {
      count(verdict)
      refuse(gateway, bytes.subarray(packet, packet + length), made)
    }
  }

  dial()
  return {
    largest: LARGEST,
    wholeSubnet: false,
    uncut: true,
    write(packet: PacketBuffer, at: number, length: number) {
      const { bytes } = packet
      const offload = readVnet(bytes, at)
      if (offload && offload.checksumStart > 0) finishChecksum(packet, at, length, offload)
      const verdict = firewall.in(bytes, at, length, performance.now() / 1000)
      if (verdict === '') {
        toGuest(bytes, at, length)
        return
      }
      count(verdict)
      // strangers hear nothing
      if (verdict === 'not-declared') refuse(identity.address, bytes.subarray(at, at + length), tellOther)
    },
    tick() {
      refusals = REFUSALS
      if (!wire) dial()
    },
    close: () => wire?.close(),
  }
}
