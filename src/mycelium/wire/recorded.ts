/**
 * The TCP connections in a capture as one byte stream per direction, keyed "source:port>destination:port". For tests:
 * little-endian pcap, Ethernet or Linux cooked, IPv4.
 */
export function recordedStreams(pcap: Buffer): Map<string, Buffer> {
  const link = pcap.readUInt32LE(20)
  const skip = { 1: 14, 113: 16, 276: 20 }[link]
  if (skip === undefined) throw new Error(`link type ${link}`)
  const streams = new Map<string, Map<number, Buffer>>()
  const starts = new Map<string, number>()
  for (let at = 24; at < pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8)
    const ip = pcap.subarray(at + 16 + skip, at + 16 + length)
    at += 16 + length
    if (ip[0]! >> 4 !== 4 || ip[9] !== 6) continue
    const tcp = ip.subarray((ip[0]! & 15) * 4, ip.readUInt16BE(2))
    const key = `${ip.subarray(12, 16).join('.')}:${tcp.readUInt16BE(0)}>${ip.subarray(16, 20).join('.')}:${tcp.readUInt16BE(2)}`
    const seq = tcp.readUInt32BE(4)
    if (tcp[13]! & 2) starts.set(key, seq + 1)
    const body = tcp.subarray((tcp[12]! >> 4) * 4)
    const parts = streams.get(key) ?? new Map<number, Buffer>()
    streams.set(key, parts)
    if (body.length) parts.set((seq - starts.get(key)!) >>> 0, body)
  }
  return new Map([...streams].map(([key, parts]) => [key, joined(parts)]))
}

function joined(parts: Map<number, Buffer>): Buffer {
  const out: Buffer[] = []
  let at = 0
  for (const [offset, body] of [...parts].sort(([a], [b]) => a - b)) {
    if (offset > at) throw new Error(`a gap at ${at}`)
    const fresh = body.subarray(at - offset)
    out.push(fresh)
    at += fresh.length
  }
  return Buffer.concat(out)
}
