import { isOverlay } from '../address.ts'
import { ICMPV6, ipv6Packet } from './packet.ts'

// What a machine asks of its own link: who has an address (RFC 826, RFC 4861), and what the link is like (RFC 4861, RFC 8106).
// Ours are told at their start and ask for nothing; any other system's kernel does.

export const ARP = 0x0806
const ROUTER_SOLICITATION = 133
const ROUTER_ADVERTISEMENT = 134
const NEIGHBOUR_SOLICITATION = 135
const NEIGHBOUR_ADVERTISEMENT = 136
const REDIRECT = 137
/** RFC 4861: what crossed a router is not of the link. */
const NOT_FORWARDED = 255
const FOREVER = 0xffff_ffff
/** The overlay, 400::/7: all of it is on every card's link. */
const OVERLAY_BITS = 7
const SOURCE = 8
const DESTINATION = 24
const BODY = 40
const TARGET = BODY + 8
/** An ARP packet of Ethernet and IPv4, and how a request of them begins: types, sizes, operation. */
const ARP_LENGTH = 28
const ARP_REQUEST = Buffer.from('0001080006040001', 'hex')
const ARP_REPLY = Buffer.from('0001080006040002', 'hex')

const address = (hex: string) => Buffer.from(hex.padStart(32, '0'), 'hex')
const UNSPECIFIED = address('')
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex')
/** The node's end of every card's link, as the link knows it. */
export const LINK_LOCAL = Buffer.from('fe800000000000000000000000000001', 'hex')

/** True for ICMPv6 that never leaves a link: solicitations, advertisements, redirects. */
export const isOfLink = (bytes: Buffer, at: number, length: number): boolean =>
  length >= TARGET &&
  bytes[at + 6] === ICMPV6 &&
  bytes[at + BODY]! >= ROUTER_SOLICITATION &&
  bytes[at + BODY]! <= REDIRECT

/** An option of RFC 4861: its type, its length in units of eight bytes, the rest. */
function option(type: number, rest: Buffer): Buffer {
  const units = Math.ceil((rest.length + 2) / 8)
  const bytes = Buffer.alloc(units * 8)
  bytes[0] = type
  bytes[1] = units
  rest.copy(bytes, 2)
  return bytes
}

const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function icmp(source: Uint8Array, to: Uint8Array, head: readonly number[], ...rest: Buffer[]): Buffer {
  const packet = ipv6Packet(source, to, ICMPV6, Buffer.concat([Buffer.from(head), ...rest]), 2)
  packet[7] = NOT_FORWARDED
  return packet
}

/** RFC 1035's form of a domain, as in RFC 8106 §5.2. */
const labels = (domain: string): Buffer =>
  Buffer.concat([
    ...domain.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
    Buffer.of(0),
  ])

export type LinkOptions = {
  /** The machine's own addresses, which nobody else answers to; without IPv4 nothing does. */
  own: Buffer
  own4: number | undefined
  /** Names are asked for there, and those without a dot meant in DOMAIN. */
  gateway: Buffer
  domain: string
  /** The node's end. */
  mac: Buffer
}

/** The node's end of a card's link, to whose MAC every address of the overlay and of the network's IPv4 range leads. */
export function createLink({ own, own4, gateway, domain, mac }: LinkOptions) {
  /** Not a default router, and no address is made from the prefix: a machine has the one it was given. */
  function advertise(to: Uint8Array, mtu: number): Buffer {
    const head = [ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    const onLink = Buffer.concat([
      Buffer.of(OVERLAY_BITS, 0x80),
      number(FOREVER),
      number(FOREVER),
      number(0),
      address('04'.padEnd(32, '0')),
    ])
    return icmp(
      LINK_LOCAL,
      to,
      head,
      option(1, mac),
      option(5, Buffer.concat([Buffer.alloc(2), number(mtu)])),
      option(3, onLink),
      option(25, Buffer.concat([Buffer.alloc(2), number(FOREVER), gateway])),
      option(31, Buffer.concat([Buffer.alloc(2), number(FOREVER), labels(domain)])),
    )
  }

  /** To a machine that is only asking whether it may have an address itself (RFC 4862 §5.4), all on the link are told. */
  function has(source: Buffer, target: Buffer): Buffer {
    const isProbe = source.equals(UNSPECIFIED)
    const flags = (isProbe ? 0 : 0x40) | (target.equals(LINK_LOCAL) ? 0xa0 : 0x20)
    const head = [NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]
    return icmp(target, isProbe ? ALL_NODES : source, head, target, option(2, mac))
  }

  const isElsewhere = (target: Buffer): boolean =>
    (isOverlay(target[0]!) && !target.equals(own)) || target.equals(LINK_LOCAL)

  return {
    /** The answer to an IPv6 packet of which `isOfLink`; MTU: of the link. Undefined where there is none. */
    answer(bytes: Buffer, at: number, length: number, mtu: number): Buffer | undefined {
      if (bytes[at + 7] !== NOT_FORWARDED || bytes[at + BODY + 1] !== 0) return undefined
      const source = Buffer.from(bytes.subarray(at + SOURCE, at + DESTINATION))
      const type = bytes[at + BODY]
      if (type === ROUTER_SOLICITATION) return advertise(source.equals(UNSPECIFIED) ? ALL_NODES : source, mtu)
      if (type !== NEIGHBOUR_SOLICITATION || length < TARGET + 16) return undefined
      const target = Buffer.from(bytes.subarray(at + TARGET, at + TARGET + 16))
      return isElsewhere(target) ? has(source, target) : undefined
    },
    /** The answer to the ARP packet at AT, which asks who has an address of RANGE, a /24; undefined where there is none. */
    answerArp(bytes: Buffer, at: number, length: number, range: number): Buffer | undefined {
      if (own4 === undefined || length < ARP_LENGTH || ARP_REQUEST.compare(bytes, at, at + 8) !== 0) return undefined
      const target = bytes.readUInt32BE(at + 24)
      if (target >>> 8 !== range >>> 8 || target === own4) return undefined
      const asker = bytes.subarray(at + 8, at + 18)
      return Buffer.concat([ARP_REPLY, mac, bytes.subarray(at + 24, at + 28), asker])
    },
  }
}
