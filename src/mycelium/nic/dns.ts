import type { NicNetwork } from './network.ts'
import { ipv6Packet, UDP } from './packet.ts'

/** RFC 1035 §4.1.1 and §3.2.2, RFC 3596. */
export const DNS_PORT = 53
const HEADER = 12
const UDP_HEADER = 8
const MAX_NAME = 255
const MAX_LABEL = 63
const TYPE_A = 1
const TYPE_AAAA = 28
const CLASS_IN = 1
const OPCODE = 0x7800
const RESPONSE = 0x8000
const AUTHORITATIVE = 0x0400
const WANTS_RECURSION = 0x0100
const RECURSES = 0x0080
const FORMAT_ERROR = 1
const NO_SUCH_NAME = 3
const NOT_IMPLEMENTED = 4
export const REFUSED = 5
/** Members come and go by new versions, at which their workloads start anew; a stale answer hurts for this long. */
const TTL = 30
/** What comes before a record's address: name, type, class, TTL, length. */
const RECORD = 12
/** RFC 1035 §4.2.1: without EDNS an answer has at most 512 bytes; what is beyond is left out, as round robin would. */
const MAX_ANSWERS = Math.floor((512 - HEADER - MAX_NAME - 5) / (RECORD + 16))

type Question = { name: string; type: number; end: number }

/** The one question of QUERY, in lower case; undefined for anything else. Queries have no compressed names. */
export function readQuestion(query: Buffer): Question | undefined {
  if (query.length < HEADER || query.readUInt16BE(4) !== 1) return undefined
  const labels: string[] = []
  let at = HEADER
  for (;;) {
    const length = query[at]
    if (length === undefined || length > MAX_LABEL) return undefined
    at++
    if (length === 0) break
    if (at + length > query.length || at + length - HEADER > MAX_NAME) return undefined
    labels.push(query.toString('latin1', at, at + length).toLowerCase())
    at += length
  }
  if (at + 4 > query.length || query.readUInt16BE(at + 2) !== CLASS_IN) return undefined
  return { name: labels.join('.'), type: query.readUInt16BE(at), end: at + 4 }
}

type Addresses = { [TYPE_A]: Uint8Array[]; [TYPE_AAAA]: Uint8Array[] }

function ipv4Bytes(ipv4: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(ipv4)
  return bytes
}

/** Every name of the network, in full, with its addresses. */
function namesOf({ members, others = [], domain }: NicNetwork): Map<string, Addresses> {
  const names = new Map<string, Addresses>()
  const add = (name: string, address: Uint8Array, ipv4?: number) => {
    const known = names.get(name) ?? { [TYPE_A]: [], [TYPE_AAAA]: [] }
    known[TYPE_AAAA].push(address)
    if (ipv4 !== undefined) known[TYPE_A].push(ipv4Bytes(ipv4))
    names.set(name, known)
  }
  for (const { names: labels, address, ipv4 } of members)
    for (const label of labels) add(`${label}.${domain}`.toLowerCase(), address, ipv4)
  for (const { names: whole, address } of others) for (const name of whole) add(name.toLowerCase(), address)
  return names
}

/** Answers questions about the members of one network; to those about names outside of its domain it says ELSEWHERE. */
export function createNames(network: NicNetwork, elsewhere = NO_SUCH_NAME) {
  const names = namesOf(network)
  let turn = 0

  /** The answer to QUERY; undefined for what deserves none. */
  function answer(query: Buffer): Buffer | undefined {
    if (query.length < HEADER) return undefined
    const asked = query.readUInt16BE(2)
    if (asked & RESPONSE) return undefined
    const question = asked & OPCODE ? undefined : readQuestion(query)
    const addresses = question && names.get(question.name)
    const unknown = question?.name.endsWith(`.${network.domain}`) ? NO_SUCH_NAME : elsewhere
    const code = asked & OPCODE ? NOT_IMPLEMENTED : !question ? FORMAT_ERROR : addresses ? 0 : unknown
    const type = question?.type === TYPE_A ? TYPE_A : TYPE_AAAA
    const found = addresses && question.type === type ? addresses[type] : []
    const size = RECORD + (found[0]?.length ?? 0)
    const count = Math.min(found.length, MAX_ANSWERS)
    const head = question ? query.subarray(0, question.end) : query.subarray(0, HEADER)
    const reply = Buffer.alloc(head.length + count * size)
    head.copy(reply)
    reply.writeUInt16BE(RESPONSE | AUTHORITATIVE | RECURSES | (asked & (OPCODE | WANTS_RECURSION)) | code, 2)
    reply.writeUInt16BE(question ? 1 : 0, 4)
    reply.writeUInt16BE(count, 6)
    reply.fill(0, 8, HEADER)
    // the first one is whom most clients take: replicas take turns
    turn++
    for (let n = 0; n < count; n++) {
      const at = head.length + n * size
      reply.writeUInt16BE(0xc000 | HEADER, at) // the question's name
      reply.writeUInt16BE(type, at + 2)
      reply.writeUInt16BE(CLASS_IN, at + 4)
      reply.writeUInt32BE(TTL, at + 6)
      reply.writeUInt16BE(size - RECORD, at + 10)
      reply.set(found[(n + turn) % found.length]!, at + RECORD)
    }
    return reply
  }

  return {
    answer,

    /** The IPv6 packet that answers the UDP datagram at BYTES[udp, end) from SOURCE to ASKED. */
    answerDatagram(bytes: Buffer, udp: number, end: number, source: Buffer, asked: Buffer): Buffer | undefined {
      const length = Math.min(bytes.readUInt16BE(udp + 4), end - udp)
      if (length < UDP_HEADER) return undefined
      const reply = answer(bytes.subarray(udp + UDP_HEADER, udp + length))
      if (!reply) return undefined
      const datagram = Buffer.alloc(UDP_HEADER + reply.length)
      datagram.writeUInt16BE(DNS_PORT, 0)
      bytes.copy(datagram, 2, udp, udp + 2)
      datagram.writeUInt16BE(datagram.length, 4)
      reply.copy(datagram, UDP_HEADER)
      return ipv6Packet(asked, source, UDP, datagram, 6)
    },
  }
}

export type Names = ReturnType<typeof createNames>
