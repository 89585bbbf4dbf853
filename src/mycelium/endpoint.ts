import { isIPv4 } from 'node:net'
import { ZosError } from '#codec'
import { ipv6Bytes, type SocketAddress } from '#sys'

/**
 * Where a peer is or where we listen: "tcp://1.2.3.4:9651", "tcp://[2001:db8::1]:9651"; "tls://" in a private network.
 * IP literals only, as upstream.
 */
export type Endpoint = SocketAddress & {
  scheme: 'tcp' | 'tls'
  /** Of a link-local address: the name of the interface. */
  zone?: string
}

/** fe80::/10 */
const isLinkLocal = (ip: string): boolean => {
  const bytes = ipv6Bytes(ip)
  return bytes?.[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80
}

export const formatEndpoint = ({ scheme, ip, port, scope, zone }: Endpoint): string => {
  const link = scope === undefined ? '' : `%${zone ?? scope}`
  return `${scheme}://${ip.includes(':') ? `[${ip}${link}]` : ip}:${port}`
}

export function parseEndpoint(text: string): Endpoint {
  const bad = (reason: string) =>
    new ZosError(`Read peer "${text}": ${reason}; it looks like "tcp://192.0.2.1:9651" or "tcp://[2001:db8::1]:9651"`, {
      code: 'bad-endpoint',
    })
  const scheme = /^([a-z0-9+.-]+):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme && scheme !== 'tcp' && scheme !== 'tls') throw bad(`transport "${scheme}" is not spoken here`)
  const parts = /^(?:tcp|tls):\/\/(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/i.exec(text)
  if (!parts) throw bad('not a transport, an address and a port')
  const ip = parts[1] ?? parts[2]!
  if (ip.includes('%')) throw bad('an address with a zone is not supported')
  if (parts[1] === undefined ? !isIPv4(ip) : !ipv6Bytes(ip)) throw bad(`"${ip}" is not an IP address`)
  if (isLinkLocal(ip)) throw bad('a link-local address does not say on which link; nodes there are found by discovery')
  const port = Number(parts[3])
  if (port < 1 || port > 65535) throw bad(`port ${port} is not between 1 and 65535`)
  return { scheme: scheme === 'tls' ? 'tls' : 'tcp', ip, port }
}
