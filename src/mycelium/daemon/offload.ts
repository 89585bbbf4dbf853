import { IPV6_HEADER } from '../wire/icmp.ts'

/**
 * Segmentation offload of the TUN: the kernel hands over and takes TCP packets of up to 64 KiB, with the size they are
 * to be cut to, so that its own cost per packet is paid once. linux/virtio_net.h, struct virtio_net_hdr (10 bytes,
 * host order): flags u8 | gso type u8 | header length u16 | gso size u16 | checksum start u16 | checksum offset u16.
 */
export const VNET_HEADER = 10
const NEEDS_CHECKSUM = 1
const GSO_NONE = 0
const GSO_TCPV6 = 4
const GSO_ECN = 0x80
const TCP = 6
const MIN_TCP_HEADER = 20
const TCP_CHECKSUM = 16
const FIN_PSH = 0x01 | 0x08
const CWR = 0x80
const PSH = 0x08
const ACK = 0x10
/** A packet the TUN can take: its length field has 16 bits. */
const MAX_PAYLOAD = 0xffff

/** A buffer with a view of 16-bit words in host order: checksums do not care about byte order (RFC 1071 §2). */
export type PacketBuffer = { bytes: Buffer; words: Uint16Array }

export function packetBuffer(size: number, bytes = Buffer.allocUnsafeSlow(size)): PacketBuffer {
  return { bytes, words: new Uint16Array(bytes.buffer, bytes.byteOffset, size >> 1) }
}

const swap = (v: number): number => ((v & 0xff) << 8) | (v >> 8)
const fold = (sum: number): number => {
  let s = sum
  while (s > 0xffff) s = (s & 0xffff) + Math.floor(s / 65536)
  return s
}

/** Sum of the 16-bit words of [from, to) in host order. */
function sumWords({ bytes, words }: PacketBuffer, from: number, to: number): number {
  let sum = 0
  if (from & 1) {
    let at = from
    for (; at + 1 < to; at += 2) sum += bytes[at]! | (bytes[at + 1]! << 8)
    return at < to ? sum + bytes[at]! : sum
  }
  const end = to >> 1
  let i = from >> 1
  for (; i + 3 < end; i += 4) sum += words[i]! + words[i + 1]! + words[i + 2]! + words[i + 3]!
  for (; i < end; i++) sum += words[i]!
  return to & 1 ? sum + bytes[to - 1]! : sum
}

/** Writes a sum in host order, both machines Node runs on here being little-endian. */
function putWord(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value & 0xff
  bytes[at + 1] = value >> 8
}

/** The pseudo header of RFC 8200 §8.1 for the packet at AT, without the length. */
const pseudoSum = (packet: PacketBuffer, at: number): number => sumWords(packet, at + 8, at + 40) + swap(TCP)

/** What the kernel said about the packet it handed over. */
export type Offload = { gsoSize: number; checksumStart: number; checksumOffset: number; ecn: boolean }

export const noOffload = (): Offload => ({ gsoSize: 0, checksumStart: 0, checksumOffset: 0, ecn: false })

/** Reads the header before the packet at AT into OFFLOAD; false for a kind of offload we did not ask for. */
export function readVnet(bytes: Buffer, at: number, offload: Offload): boolean {
  const head = at - VNET_HEADER
  const type = bytes[head + 1]! & ~GSO_ECN
  if (type !== GSO_NONE && type !== GSO_TCPV6) return false
  const needs = (bytes[head]! & NEEDS_CHECKSUM) !== 0
  offload.gsoSize = type === GSO_NONE ? 0 : bytes.readUInt16LE(head + 4)
  offload.checksumStart = needs ? bytes.readUInt16LE(head + 6) : 0
  offload.checksumOffset = needs ? bytes.readUInt16LE(head + 8) : 0
  offload.ecn = (bytes[head + 1]! & GSO_ECN) !== 0
  return true
}

/**
 * Finishes a checksum the kernel left to us: the field holds the pseudo header's sum already. It must not begin before FIRST,
 * counted from AT as the header says it.
 */
export function finishChecksum(
  packet: PacketBuffer,
  at: number,
  length: number,
  offload: Offload,
  first = IPV6_HEADER,
): boolean {
  const start = at + offload.checksumStart
  const field = start + offload.checksumOffset
  if (offload.checksumStart < first || field + 2 > at + length) return false
  const sum = fold(sumWords(packet, start, at + length))
  // UDP says "no checksum" by zero, so a sum of zero is sent as all ones (RFC 8200 §8.1); TCP does not mind
  putWord(packet.bytes, field, ~sum & 0xffff || 0xffff)
  return true
}

/** Length of the headers of the TCP packet at AT; 0 when it is none that can be cut. */
export function tcpHeaders(bytes: Buffer, at: number, length: number): number {
  if (length < IPV6_HEADER + MIN_TCP_HEADER || bytes[at + 6] !== TCP) return 0
  const tcp = (bytes[at + IPV6_HEADER + 12]! >> 4) * 4
  return tcp >= MIN_TCP_HEADER && IPV6_HEADER + tcp < length ? IPV6_HEADER + tcp : 0
}

const template = Buffer.alloc(IPV6_HEADER + 60)

/**
 * Cuts the TCP packet at AT into packets of at most SIZE payload bytes and hands each to EMIT, with OF, in order. Each is built in
 * place, its headers over the end of the one before: EMIT must be done with it when it returns. With `checksum` false the field is
 * left for whoever cuts further.
 */
export function cutTcp<Of>(
  packet: PacketBuffer,
  at: number,
  length: number,
  headers: number,
  size: number,
  checksum: boolean,
  emit: (bytes: Buffer, at: number, length: number, of: Of) => void,
  of: Of,
): void {
  const { bytes } = packet
  bytes.copy(template, 0, at, at + headers)
  const firstSeq = template.readUInt32BE(IPV6_HEADER + 4)
  const flags = template[IPV6_HEADER + 13]!
  const pseudo = pseudoSum(packet, at)
  const payload = length - headers
  for (let done = 0; done < payload; done += size) {
    const part = Math.min(size, payload - done)
    const start = at + done
    if (done > 0) template.copy(bytes, start, 0, headers)
    const tcp = start + IPV6_HEADER
    const tcpLength = headers - IPV6_HEADER + part
    bytes.writeUInt16BE(tcpLength, start + 4)
    bytes.writeUInt32BE((firstSeq + done) >>> 0, tcp + 4)
    const last = done + part === payload
    bytes[tcp + 13] = flags & ~((last ? 0 : FIN_PSH) | (done > 0 ? CWR : 0))
    if (checksum) {
      putWord(bytes, tcp + TCP_CHECKSUM, 0)
      const sum = fold(pseudo + swap(tcpLength) + sumWords(packet, tcp, start + headers + part))
      putWord(bytes, tcp + TCP_CHECKSUM, ~sum & 0xffff)
    }
    emit(bytes, start, headers + part, of)
  }
}

/** Writes the header before the packet at AT that has the kernel cut it to SIZE and fill in the checksums. */
export function writeGso(packet: PacketBuffer, at: number, headers: number, tcpLength: number, size: number): void {
  const { bytes } = packet
  const head = at - VNET_HEADER
  bytes[head] = NEEDS_CHECKSUM
  bytes[head + 1] = size > 0 ? GSO_TCPV6 : GSO_NONE
  bytes.writeUInt16LE(size > 0 ? headers : 0, head + 2)
  bytes.writeUInt16LE(size, head + 4)
  bytes.writeUInt16LE(IPV6_HEADER, head + 6)
  bytes.writeUInt16LE(TCP_CHECKSUM, head + 8)
  // not complemented: the kernel adds the segment and complements (CHECKSUM_PARTIAL)
  putWord(bytes, at + IPV6_HEADER + TCP_CHECKSUM, fold(pseudoSum(packet, at) + swap(tcpLength)))
}

export const clearVnet = (bytes: Buffer, at: number): void => void bytes.fill(0, at - VNET_HEADER, at)

/**
 * Joins TCP packets of one flow that follow each other into one for the kernel, as the sender's kernel had it before it
 * was cut. Their integrity is AES-GCM's, so the kernel is told that checksums are good.
 */
export function createCoalescer(at: number, write: (packet: PacketBuffer, length: number) => void) {
  const joined = packetBuffer(at + IPV6_HEADER + MAX_PAYLOAD + 1)
  const { bytes } = joined
  let length = 0
  let headers = 0
  let size = 0
  let nextSeq = 0
  let parts = 0

  function flush(): void {
    if (length === 0) return
    const tcpLength = length - IPV6_HEADER
    bytes.writeUInt16BE(tcpLength, at + 4)
    if (parts > 1) writeGso(joined, at, headers, tcpLength, size)
    else clearVnet(bytes, at)
    write(joined, length)
    length = 0
  }

  /** All that must be the same in both: version to flow label, next header, hop limit, addresses, ports, ack, options. */
  function fits(other: Buffer, from: number, head: number, payload: number): boolean {
    if (length === 0 || head !== headers || payload > size || length + payload > IPV6_HEADER + MAX_PAYLOAD) return false
    const tcp = IPV6_HEADER
    return (
      other.readUInt32BE(from + tcp + 4) === nextSeq &&
      (bytes[at + tcp + 13]! & PSH) === 0 &&
      (length - headers) % size === 0 &&
      bytes.compare(other, from + 6, from + tcp + 4, at + 6, at + tcp + 4) === 0 &&
      bytes.compare(other, from, from + 4, at, at + 4) === 0 &&
      bytes.compare(other, from + tcp + 8, from + tcp + 13, at + tcp + 8, at + tcp + 13) === 0 &&
      bytes.compare(other, from + tcp + 14, from + tcp + 16, at + tcp + 14, at + tcp + 16) === 0 &&
      bytes.compare(other, from + tcp + 20, from + head, at + tcp + 20, at + head) === 0
    )
  }

  return {
    flush,
    /** Takes the packet at FROM; false when it cannot be joined with anything: flush first, then write it as it is. */
    take(other: Buffer, from: number, total: number): boolean {
      const head = tcpHeaders(other, from, total)
      if (head === 0 || (other[from + IPV6_HEADER + 13]! & ~PSH) !== ACK) return false
      const payload = total - head
      if (!fits(other, from, head, payload)) {
        flush()
        other.copy(bytes, at, from, from + total)
        length = total
        headers = head
        size = payload
        parts = 1
      } else {
        other.copy(bytes, at + length, from + head, from + total)
        bytes[at + IPV6_HEADER + 13]! |= other[from + IPV6_HEADER + 13]! & PSH
        length += payload
        parts++
      }
      nextSeq = (other.readUInt32BE(from + IPV6_HEADER + 4) + payload) >>> 0
      return true
    },
  }
}
