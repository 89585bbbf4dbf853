import { IPV6_HEADER } from '../wire/icmp.ts'
import { createFlowTable, HERE, THERE } from './flow-table.ts'
import type { NicNetwork } from './network.ts'
import { FRAGMENT, ICMPV6, readUpper, TCP, UDP, type Upper } from './packet.ts'

const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const SOURCE = 8
const DESTINATION = 24
/** Behind an ICMPv6 error's header comes the packet it is about. */
const QUOTED = 8
/** TCP flags: in the middle of a connection there is an ACK and no SYN or RST. */
const TCP_HEADER = 20
const FLAGS = 13
const [SYN, RST, ACK] = [0x02, 0x04, 0x10]
/**
 * Milliseconds in which connections that were open before are taken up: a network plane that starts anew knows none of them, and
 * the side that waits for data would never speak first.
 */
const TAKE_UP = 120_000

const upper: Upper = { protocol: 0, at: 0, sourcePort: 0, destinationPort: 0 }

/** What decides over a card's packets, by packet and time in milliseconds: '' lets it pass, else the counter's name. */
export type Firewall = {
  out: (bytes: Buffer, at: number, length: number, now: number) => string
  in: (bytes: Buffer, at: number, length: number, now: number) => string
  /** Decides by NETWORK from now on; what is open that could not be opened by it is cut. */
  reform: (network: NicNetwork) => void
}

const portKey = (protocol: number, port: number): number => protocol * 65536 + port

/** By /64: whom a card may speak to, whom it hears, both together, and who may open connections to which of its ports. */
function rulesOf({ members, people = [], others = [], ports, allow }: NicNetwork) {
  const subnets = (addresses: Uint8Array[]) => addresses.map((address) => subnet(Buffer.from(address), 0))
  const own = subnets(members.map(({ address }) => address))
  const spokenTo = new Set([...own, ...subnets(others.map(({ address }) => address))])
  const heard = new Set([...own, ...subnets(people), ...subnets((allow ?? []).flatMap(({ from }) => from))])
  const open = new Map<number, Set<string>>()
  for (const rule of allow ?? [{ from: members.map(({ address }) => address), people: true, ports }])
    for (const { protocol, port } of rule.ports) {
      const key = portKey(protocol === 'tcp' ? TCP : UDP, port)
      const who = open.get(key) ?? new Set()
      for (const one of subnets(rule.people ? [...rule.from, ...people] : rule.from)) who.add(one)
      open.set(key, who)
    }
  return { spokenTo, heard, known: new Set([...spokenTo, ...heard]), open }
}

/**
 * A card reaches the members of its network, what else it was given, and nobody else; members and people reach its declared
 * ports, or whom its rules name; answers to what was opened pass. Addresses were compared with their senders' keys before: a
 * member's /64 is the member.
 */
export function createFirewall(network: NicNetwork, since: number): Firewall {
  const flows = createFlowTable()
  let rules = rulesOf(network)

  /** An error passes when it is about a packet of a flow that is remembered, which the card had SENT or was sent. */
  function isError(bytes: Buffer, at: number, end: number, sent: boolean, now: number): boolean {
    const quoted = at + QUOTED
    if (end - quoted < IPV6_HEADER || !readUpper(bytes, quoted, end - quoted, upper)) return false
    const [own, other] = portsOf(upper.protocol, sent)
    return flows.knows(bytes, quoted + (sent ? DESTINATION : SOURCE), upper.protocol, own, other, now)
  }

  return {
    out(bytes, at, length, now) {
      if (!readUpper(bytes, at, length, upper)) return 'nic-malformed'
      const { protocol, at: header, sourcePort: type } = upper
      if (protocol === ICMPV6 && type < 128) return isError(bytes, header, at + length, false, now) ? '' : 'unasked'
      // useless without its first fragment, which has the ports
      if (protocol === FRAGMENT) return rules.known.has(subnet(bytes, at + DESTINATION)) ? '' : 'not-a-member'
      const [own, other] = portsOf(protocol, true)
      const opens = mayOpen(bytes, protocol, header, at + length)
      if (!opens && flows.knows(bytes, at + DESTINATION, protocol, own, other, now)) return ''
      if (!rules.spokenTo.has(subnet(bytes, at + DESTINATION))) return 'not-a-member'
      flows.remember(bytes, at + DESTINATION, protocol, own, other, now, HERE)
      return ''
    },

    in(bytes, at, length, now) {
      if (!readUpper(bytes, at, length, upper)) return 'nic-malformed'
      const { protocol, at: header, sourcePort: type, destinationPort: port } = upper
      if (protocol === ICMPV6 && type < 128) return isError(bytes, header, at + length, true, now) ? '' : 'unasked'
      if (protocol === FRAGMENT) return rules.known.has(subnet(bytes, at + SOURCE)) ? '' : 'not-a-member'
      const [own, other] = portsOf(protocol, false)
      const opens = mayOpen(bytes, protocol, header, at + length)
      if (!opens && flows.knows(bytes, at + SOURCE, protocol, own, other, now)) return ''
      const source = subnet(bytes, at + SOURCE)
      if (!rules.known.has(source)) return 'not-a-member'
      const before = now - since < TAKE_UP && isMidway(bytes, protocol, header, at + length)
      if (!before) {
        if (!rules.heard.has(source)) return 'not-a-member'
        const echo = protocol === ICMPV6 && type === ECHO_REQUEST
        if (!echo && !rules.open.get(portKey(protocol, port))?.has(source)) return 'not-declared'
      }
      flows.remember(bytes, at + SOURCE, protocol, own, other, now, before ? HERE | THERE : THERE)
      return ''
    },

    reform(now) {
      rules = rulesOf(now)
      const { spokenTo, heard, open } = rules
      const mayAsk = (who: string, protocol: number, own: number) =>
        protocol === ICMPV6 ? heard.has(who) : open.get(portKey(protocol, own))?.has(who) === true
      flows.keep(
        (who, protocol, own, opened) =>
          ((opened & HERE) !== 0 && spokenTo.has(who)) || ((opened & THERE) !== 0 && mayAsk(who, protocol, own)),
      )
    },
  }
}

const isMidway = (bytes: Buffer, protocol: number, header: number, end: number): boolean =>
  protocol === TCP && header + TCP_HEADER <= end && (bytes[header + FLAGS]! & (SYN | RST | ACK)) === ACK

/** A first TCP segment, or what may be one as its flags are in another fragment: no flow that is remembered lets it pass. */
const mayOpen = (bytes: Buffer, protocol: number, header: number, end: number): boolean =>
  protocol === TCP && (header + FLAGS >= end || (bytes[header + FLAGS]! & (SYN | ACK)) === SYN)

/** Ports of the packet just read, the card's own first; an echo and its reply have one pair. */
function portsOf(protocol: number, sent: boolean): [number, number] {
  const { sourcePort, destinationPort } = upper
  if (protocol !== ICMPV6) return sent ? [sourcePort, destinationPort] : [destinationPort, sourcePort]
  const echo = sourcePort === ECHO_REQUEST || sourcePort === ECHO_REPLY
  return echo ? [ECHO_REQUEST, destinationPort] : [sourcePort, 0]
}

/** The /64 an address is in: a key's, whichever of its addresses it speaks from. */
const subnet = (bytes: Buffer, at: number): string => bytes.toString('latin1', at, at + 8)
