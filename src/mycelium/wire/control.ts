import { BABEL_HEADER, BABEL_MAGIC, BABEL_VERSION, CONTROL, FRAME_HEADER, FrameError, VERSION } from './frame.ts'

/** An IPv6 prefix: `bytes` are its ⌈length/8⌉ bytes in hex. */
export type Prefix = { bytes: string; length: number }

/** Router id: public key[32] | zone[2] | random[6], 80 hex digits. */
export type RouterId = string

/** Intervals are centiseconds; metric 65535 is infinite; seqnos count modulo 2^16. */
export type Message =
  | { type: 'hello'; unicast: boolean; seqno: number; interval: number }
  | { type: 'ihu'; rxcost: number; interval: number }
  | { type: 'update'; interval: number; seqno: number; metric: number; prefix: Prefix; routerId: RouterId }
  /** Without a prefix: a wish for the whole table. */
  | { type: 'route-request'; generation: number; prefix?: Prefix }
  | { type: 'seqno-request'; seqno: number; hops: number; routerId: RouterId; prefix: Prefix }

/** TLV types: RFC 8966 §4.6, except that Update carries a router id and RouteRequest a generation. */
const HELLO = 4
const IHU = 5
const UPDATE = 8
const ROUTE_REQUEST = 9
const SEQNO_REQUEST = 10
/** Address encodings */
const AE_WILDCARD = 0
const AE_IPV6 = 2
const UNICAST = 0x8000
const ROUTER_ID_SIZE = 40

/** The whole frame of one message: upstream takes exactly one TLV per frame. */
export function encodeControl(message: Message): Buffer {
  const value = encodeValue(message)
  const bytes = Buffer.alloc(FRAME_HEADER + BABEL_HEADER + 2 + value.length)
  bytes[0] = VERSION
  bytes[1] = CONTROL
  bytes[4] = BABEL_MAGIC
  bytes[5] = BABEL_VERSION
  bytes.writeUInt16BE(2 + value.length, 6)
  bytes[8] = tlvType[message.type]
  bytes[9] = value.length
  bytes.set(value, 10)
  return bytes
}

const tlvType: Record<Message['type'], number> = {
  hello: HELLO,
  ihu: IHU,
  update: UPDATE,
  'route-request': ROUTE_REQUEST,
  'seqno-request': SEQNO_REQUEST,
}

const be16 = (...values: number[]): number[] => values.flatMap((v) => [(v >> 8) & 0xff, v & 0xff])
const hex = (text: string): number[] => [...Buffer.from(text, 'hex')]

function encodeValue(m: Message): Uint8Array {
  switch (m.type) {
    case 'hello':
      return Uint8Array.from(be16(m.unicast ? UNICAST : 0, m.seqno, m.interval))
    case 'ihu':
      return Uint8Array.from([AE_WILDCARD, 0, ...be16(m.rxcost, m.interval)])
    case 'update':
      return Uint8Array.from([
        ...[AE_IPV6, 0, m.prefix.length, 0],
        ...be16(m.interval, m.seqno, m.metric),
        ...hex(m.prefix.bytes),
        ...hex(m.routerId),
      ])
    case 'route-request':
      return Uint8Array.from(
        m.prefix ? [m.generation, AE_IPV6, m.prefix.length, ...hex(m.prefix.bytes)] : [m.generation, AE_WILDCARD, 0],
      )
    case 'seqno-request':
      return Uint8Array.from([
        ...[AE_IPV6, m.prefix.length],
        ...be16(m.seqno),
        ...[m.hops, 0],
        ...hex(m.routerId),
        ...hex(m.prefix.bytes),
      ])
  }
}

/**
 * The messages of the control frame at BYTES[start, end), headers included. TLVs of a type or address family we do not
 * know are skipped by their length; one that is too short for its type is hostile.
 */
export function decodeControl(bytes: Buffer, start: number, end: number): Message[] {
  const messages: Message[] = []
  let at = start + FRAME_HEADER + BABEL_HEADER
  while (at < end) {
    // Pad1 (RFC 8966 §4.6.1) is a single zero byte
    if (bytes[at] === 0) {
      at++
      continue
    }
    if (end - at < 2) throw new FrameError('bad-message', 'a TLV without its length')
    const type = bytes[at]!
    const from = at + 2
    const to = from + bytes[at + 1]!
    if (to > end) throw new FrameError('bad-message', 'a TLV beyond its frame')
    const message = decodeValue(type, bytes.subarray(from, to))
    if (message) messages.push(message)
    at = to
  }
  return messages
}

function need(value: Buffer, length: number): void {
  if (value.length < length) throw new FrameError('bad-message', `${value.length} bytes where ${length} are needed`)
}

/** The prefix of LENGTH bits at VALUE[at]; undefined for other address families than IPv6. */
function prefixAt(value: Buffer, at: number, family: number, length: number): Prefix | undefined {
  if (family !== AE_IPV6) return undefined
  if (length > 128) throw new FrameError('bad-message', `prefix length ${length}`)
  const size = Math.ceil(length / 8)
  need(value, at + size)
  return { bytes: value.toString('hex', at, at + size), length }
}

function decodeValue(type: number, v: Buffer): Message | undefined {
  switch (type) {
    case HELLO:
      need(v, 6)
      return {
        type: 'hello',
        unicast: (v.readUInt16BE(0) & UNICAST) !== 0,
        seqno: v.readUInt16BE(2),
        interval: v.readUInt16BE(4),
      }
    case IHU:
      need(v, 6)
      return { type: 'ihu', rxcost: v.readUInt16BE(2), interval: v.readUInt16BE(4) }
    case UPDATE: {
      need(v, 10)
      const prefix = prefixAt(v, 10, v[0]!, v[2]!)
      // omitted bytes would need the state of an earlier update: nobody sends that
      if (!prefix || v[3] !== 0) return undefined
      const at = 10 + prefix.bytes.length / 2
      need(v, at + ROUTER_ID_SIZE)
      const routerId = v.toString('hex', at, at + ROUTER_ID_SIZE)
      return {
        type: 'update',
        interval: v.readUInt16BE(4),
        seqno: v.readUInt16BE(6),
        metric: v.readUInt16BE(8),
        prefix,
        routerId,
      }
    }
    case ROUTE_REQUEST: {
      need(v, 3)
      if (v[1] === AE_WILDCARD) return { type: 'route-request', generation: v[0]! }
      const prefix = prefixAt(v, 3, v[1]!, v[2]!)
      return prefix && { type: 'route-request', generation: v[0]!, prefix }
    }
    case SEQNO_REQUEST: {
      need(v, 6 + ROUTER_ID_SIZE)
      const prefix = prefixAt(v, 6 + ROUTER_ID_SIZE, v[0]!, v[1]!)
      const routerId = v.toString('hex', 6, 6 + ROUTER_ID_SIZE)
      return prefix && { type: 'seqno-request', seqno: v.readUInt16BE(2), hops: v[4]!, routerId, prefix }
    }
    default:
      return undefined
  }
}
