import { sleep } from '#sys'
import type { Guest } from '../src/mycelium/nic/guest.fixture.ts'
import { formatIpv4, ipv4OfSlot } from '../src/mycelium/nic/network.ts'
import { ipv4Number } from '../src/mycelium/nic/outside.ts'
import { checksum } from '../src/mycelium/wire/icmp.ts'

/** The next frame a machine is sent, with its Ethernet header; undefined when none comes within MS. */
export async function answerTo({ received }: Guest, ms: number): Promise<Buffer | undefined> {
  for (const end = performance.now() + ms; performance.now() < end; await sleep(5)) {
    const frame = received.shift()
    if (frame) return frame
  }
  return undefined
}

type Ipv4 = { source?: number; destination: string; protocol: number; payload: Buffer; fragment?: number }

export function ipv4Packet({
  source = ipv4OfSlot(0),
  destination,
  protocol,
  payload,
  fragment = 0x4000,
}: Ipv4): Buffer {
  const packet = Buffer.concat([Buffer.alloc(20), payload])
  packet[0] = 0x45
  packet.writeUInt16BE(packet.length, 2)
  packet.writeUInt16BE(fragment, 6)
  packet[8] = 64
  packet[9] = protocol
  packet.writeUInt32BE(source, 12)
  packet.writeUInt32BE(ipv4Number(destination), 16)
  packet.writeUInt16BE(~checksum(packet, 0, 20) & 0xffff, 10)
  return packet
}

let port = 40_000

/** The first segment of a connection, from a new port each time. */
export function synTo(destination: string, to: number): Buffer {
  const segment = Buffer.alloc(20)
  segment.writeUInt16BE(port++, 0)
  segment.writeUInt16BE(to, 2)
  segment.writeUInt32BE(1, 4)
  segment[12] = 0x50
  segment[13] = 0x02
  segment.writeUInt16BE(65_535, 14)
  const packet = ipv4Packet({ destination, protocol: 6, payload: segment })
  const sum = checksum(packet, 20, 40, checksum(packet, 12, 20, 6 + 20))
  packet.writeUInt16BE(~sum & 0xffff, 36)
  return packet
}

export function udpTo(destination: string, to: number, payload: Buffer): Buffer {
  const datagram = Buffer.concat([Buffer.alloc(8), payload])
  datagram.writeUInt16BE(port++, 0)
  datagram.writeUInt16BE(to, 2)
  datagram.writeUInt16BE(datagram.length, 4)
  return ipv4Packet({ destination, protocol: 17, payload: datagram })
}

/** What an IPv4 frame says: TCP's flags, ICMP's type and code, UDP's payload. */
export function readAnswer(frame: Buffer) {
  const packet = frame.subarray(14)
  const body = packet.subarray((packet[0]! & 15) * 4, packet.readUInt16BE(2))
  return {
    source: formatIpv4(packet.readUInt32BE(12)),
    protocol: packet[9]!,
    flags: body[13],
    type: body[0],
    code: body[1],
    payload: body.subarray(8),
  }
}
