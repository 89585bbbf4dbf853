import { createNames, DNS_PORT, readQuestion } from './dns.ts'
import type { NicNetwork } from './network.ts'
import { ICMPV6, ipv6Packet, readUpper, TCP, UDP, type Upper } from './packet.ts'

const ECHO_REQUEST = 128
const ECHO_REPLY = 129
const UDP_HEADER = 8
/** RFC 9293 §3.1: without options, and the flags. */
const TCP_HEADER = 20
const [SYN, RST, ACK] = [0x02, 0x04, 0x10]

/** Questions for names of workloads go to no other resolver: it could not answer them, and should not hear of them. */
const isOurs = (name: string): boolean => name === 'zos' || name.endsWith('.zos')

const upper: Upper = { protocol: 0, at: 0, sourcePort: 0, destinationPort: 0 }

/** Takes a DNS question about a name that is no workload's: the UDP datagram, from SOURCE to ASKED. */
export type Forward = (datagram: Buffer, source: Buffer, asked: Buffer) => void

export type GatewayOptions = {
  /** As in `createNames`. */
  elsewhere?: number
  forward?: Forward | undefined
}

/** A reset for a SEGMENT that opens a TCP connection, as resolvers do after an answer that was cut short: they need not wait. */
function refusal(segment: Buffer): Buffer | undefined {
  if (segment.length < TCP_HEADER || (segment[13]! & (SYN | ACK)) !== SYN) return undefined
  const reset = Buffer.alloc(TCP_HEADER)
  segment.copy(reset, 0, 2, 4)
  segment.copy(reset, 2, 0, 2)
  reset.writeUInt32BE((segment.readUInt32BE(4) + 1) >>> 0, 8)
  reset[12] = (TCP_HEADER / 4) << 4
  reset[13] = RST | ACK
  return reset
}

/** The node's end of a card's link: knows the names of its network, and says that it is there. */
export function createGateway(network: NicNetwork, { elsewhere, forward }: GatewayOptions = {}) {
  const names = createNames(network, elsewhere)
  return {
    /** The answer to the packet at BYTES[at, at+length), which asks for one; undefined when there is none. */
    answer(bytes: Buffer, at: number, length: number): Buffer | undefined {
      if (!readUpper(bytes, at, length, upper)) return undefined
      const { protocol, at: header, sourcePort, destinationPort } = upper
      const source = Buffer.from(bytes.subarray(at + 8, at + 24))
      const asked = Buffer.from(bytes.subarray(at + 24, at + 40))
      if (protocol === UDP && destinationPort === DNS_PORT) {
        const datagram = bytes.subarray(header, at + length)
        const question = forward && readQuestion(datagram.subarray(UDP_HEADER))
        if (forward && question && !isOurs(question.name)) {
          forward(Buffer.from(datagram), source, asked)
          return undefined
        }
        return names.answerDatagram(bytes, header, at + length, source, asked)
      }
      if (protocol === TCP) {
        const segment = refusal(bytes.subarray(header, at + length))
        return segment && ipv6Packet(asked, source, TCP, segment, 16)
      }
      if (protocol !== ICMPV6 || sourcePort !== ECHO_REQUEST) return undefined
      const echo = Buffer.from(bytes.subarray(header, at + length))
      echo.writeUInt32BE(ECHO_REPLY * 2 ** 24)
      return ipv6Packet(asked, source, ICMPV6, echo, 2)
    },
  }
}
