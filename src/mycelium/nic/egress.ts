import type { Reactor } from '../daemon/reactor.ts'
import { checksum } from '../wire/icmp.ts'
import { DNS_PORT } from './dns.ts'
import { IPV4_GATEWAY } from './network.ts'
import { createOutside } from './outside.ts'
import { ipv6Packet, TCP, UDP } from './packet.ts'
import { IPV4_HEADER, writeHeader } from './translate.ts'
import { ETHERNET, openWire, PREFIX, type Wire } from './wire.ts'

const IPV4 = 0x0800
const SMTP = 25
const ICMP = 1
const UNREACHABLE = 3
/** RFC 1812 §5.2.7.1: communication administratively prohibited. */
const PROHIBITED = 13
const ERROR_HEADER = 8
const UDP_HEADER = 8
/** More-fragments and offset. */
const FRAGMENT_BITS = 0x3fff
/** Questions whose answers are waited for. */
const MAX_ASKED = 256

export type EgressOptions = {
  reactor: Reactor
  /** The guest's IPv4 address. */
  own: number
  ours: Buffer
  guests: Buffer
  count: (name: string) => void
  /** An IPv4 packet at AT for the guest. */
  toGuest: (bytes: Buffer, at: number, length: number) => void
  /** An IPv6 packet made here for the guest. */
  made: (packet: Buffer) => void
  headroom: number
}

/**
 * A card's way to the Internet: IPv4 frames to and from a passt process, a socket to which is given by `take` whenever there
 * is a new one. Passt connects for the guest from this node's network, so whom the guest may reach is decided here.
 */
export function createEgress(options: EgressOptions) {
  const { reactor, own, ours, guests, count, toGuest, made, headroom } = options
  const isOutside = createOutside()
  const traffic = { sent: 0, received: 0 }
  /** By the guest's port: who asked whom, as IPv6 addresses. */
  const asked = new Map<number, { source: Buffer; asked: Buffer }>()
  const framed = Buffer.alloc(PREFIX + ETHERNET + 0xffff)
  let wire: Wire | undefined

  function put(packet: Buffer, at: number, length: number): void {
    if (!wire) {
      count('egress-down')
      return
    }
    ours.copy(framed, PREFIX)
    guests.copy(framed, PREFIX + 6)
    framed.writeUInt16BE(IPV4, PREFIX + 12)
    packet.copy(framed, PREFIX + ETHERNET, at, at + length)
    if (wire.send(framed, PREFIX, ETHERNET + length)) traffic.sent += length
    else count('egress-full')
  }

  /** '' for a packet that may leave, else the counter's name. */
  function verdict(bytes: Buffer, at: number, length: number, now: number): string {
    const header = (bytes[at]! & 15) * 4
    if (bytes[at]! >> 4 !== 4 || header < IPV4_HEADER || length < header + UDP_HEADER) return 'nic-not-ip'
    // signed, addresses beyond 127 are small integers too; ours begin with 10
    if (bytes.readInt32BE(at + 12) !== own) return 'foreign-source'
    // whose ports are not in it
    if (bytes.readUInt16BE(at + 6) & FRAGMENT_BITS) return 'egress-fragment'
    const protocol = bytes[at + 9]!
    if (protocol !== TCP && protocol !== UDP && protocol !== ICMP) return 'egress-protocol'
    if (!isOutside(bytes.readInt32BE(at + 16), now)) return 'egress-blocked'
    return protocol === TCP && bytes.readUInt16BE(at + header + 2) === SMTP ? 'egress-smtp' : ''
  }

  /** Tells the guest that its packet may not leave: it need not wait for an answer. */
  function refuse(bytes: Buffer, at: number, length: number): void {
    const quoted = bytes.subarray(at, at + Math.min(length, 64))
    const packet = Buffer.alloc(headroom + IPV4_HEADER + ERROR_HEADER + quoted.length)
    const error = packet.subarray(headroom + IPV4_HEADER)
    writeHeader(packet, headroom, {
      total: packet.length - headroom,
      protocol: ICMP,
      hops: 64,
      source: IPV4_GATEWAY,
      destination: own,
    })
    error[0] = UNREACHABLE
    error[1] = PROHIBITED
    quoted.copy(error, ERROR_HEADER)
    error.writeUInt16BE(~checksum(error, 0, error.length) & 0xffff, 2)
    toGuest(packet, headroom, packet.length - headroom)
  }

  /** True for the answer to a question of the guest; it is handed over as what it was asked as. */
  function answersQuestion(bytes: Buffer, at: number, header: number, length: number): boolean {
    if (bytes.readInt32BE(at + 12) !== IPV4_GATEWAY) return false
    const who = bytes[at + 9] === UDP ? asked.get(bytes.readUInt16BE(at + header + 2)) : undefined
    if (!who || bytes.readUInt16BE(at + header) !== DNS_PORT) return true
    asked.delete(bytes.readUInt16BE(at + header + 2))
    const datagram = Buffer.from(bytes.subarray(at + header, at + length))
    datagram.writeUInt16BE(datagram.length, 4)
    datagram.writeUInt16BE(0, 6)
    made(ipv6Packet(who.asked, who.source, UDP, datagram, 6))
    return true
  }

  /** Passt is ours, but talks to everybody: nothing of a frame is taken on trust. */
  function fromOutside(bytes: Buffer, frame: number, frameLength: number): void {
    const at = frame + ETHERNET
    const room = frameLength - ETHERNET
    const isIpv4 = bytes.readUInt16BE(frame + 12) === IPV4 && room >= IPV4_HEADER + UDP_HEADER && bytes[at]! >> 4 === 4
    const header = isIpv4 ? (bytes[at]! & 15) * 4 : 0
    const length = isIpv4 ? Math.min(bytes.readUInt16BE(at + 2), room) : 0
    if (header < IPV4_HEADER || length < header + UDP_HEADER || bytes.readInt32BE(at + 16) !== own) count('egress-odd')
    else if (answersQuestion(bytes, at, header, length)) traffic.received += length
    // a UDP socket of passt takes datagrams of anybody
    else if (!isOutside(bytes.readInt32BE(at + 12), reactor.now)) count('egress-blocked')
    else {
      traffic.received += length
      toGuest(bytes, at, length)
    }
  }

  return {
    traffic,

    /** A new socket to passt; the one before is closed. */
    take(fd: number): void {
      wire?.close()
      wire = openWire(reactor, fd, headroom, {
        frame: ({ bytes }, at, length) => fromOutside(bytes, at, length),
        closed() {
          wire = undefined
        },
      })
    },

    /** An IPv4 packet of the guest to somewhere beyond its network; true when it went. */
    send(bytes: Buffer, at: number, room: number, now: number): boolean {
      const length = room < IPV4_HEADER ? 0 : Math.min(room, bytes.readUInt16BE(at + 2))
      const name = verdict(bytes, at, length, now)
      if (name === '') {
        put(bytes, at, length)
        return true
      }
      count(name)
      if (name === 'egress-blocked' || name === 'egress-smtp') refuse(bytes, at, length)
      return false
    },

    /** The DNS question DATAGRAM (with its UDP header) of SOURCE to us: passt asks the node's own resolver. */
    ask(datagram: Buffer, source: Buffer, from: Buffer): void {
      const port = datagram.readUInt16BE(0)
      asked.delete(port)
      asked.set(port, { source, asked: from })
      if (asked.size > MAX_ASKED) asked.delete(asked.keys().next().value!)
      const packet = Buffer.concat([Buffer.alloc(IPV4_HEADER), datagram])
      writeHeader(packet, 0, { total: packet.length, protocol: UDP, hops: 64, source: own, destination: IPV4_GATEWAY })
      // IPv4's "none": the addresses in it have changed
      packet.writeUInt16BE(0, IPV4_HEADER + 6)
      put(packet, 0, packet.length)
    },

    close: (): void => wire?.close(),
  }
}
