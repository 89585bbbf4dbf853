import type { NetworkSpec } from '../src/vm/agent/types.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { close, must, O, sys, writeFile } from './native.ts'

/** linux/sockios.h, linux/if.h */
const SIOCADDRT = 0x890b
const SIOCSIFFLAGS = 0x8914
const SIOCSIFADDR = 0x8916
const SIOCSIFNETMASK = 0x891c
const SIOCSIFMTU = 0x8922
const SIOCGIFINDEX = 0x8933
const IFF_UP = 1
const IFF_NOARP = 0x80
const IFF_MULTICAST = 0x1000
const RTF_UP = 1
const RTF_GATEWAY = 2
const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2

const CARD = 'eth0'
/** 400::/7: the whole overlay is on the card's link. */
const PREFIX = 7
const IPV4_MASK = 0xffffff00

/** struct ifreq: name[16], then what the request is about. */
const VALUE = 16
const requestFor = (name: string): [Uint8Array, DataView] => {
  const bytes = new Uint8Array(40)
  bytes.set(encodeUtf8(name))
  return [bytes, new DataView(bytes.buffer)]
}

function withSocket(family: number, use: (fd: number) => void): void {
  const fd = must('Make a socket', sys('socket', family, SOCK_DGRAM | O.CLOEXEC, 0))
  try {
    use(fd)
  } finally {
    close(fd)
  }
}

/** Writes below /proc/sys; a kernel without it can do without it. */
export function setting(path: string, value: string): void {
  try {
    writeFile(`/proc/sys/${path}`, encodeUtf8(value))
  } catch {}
}

/** At boot: `lo`, and what makes bringing the card up later cost nothing more. */
export function prepareNetwork(): void {
  const [request, view] = requestFor('lo')
  view.setUint16(VALUE, IFF_UP, true)
  withSocket(AF_INET, (fd) => must('Bring up lo', sys('ioctl', fd, SIOCSIFFLAGS, request)))
  // nobody on the card's link advertises itself or could have our address; 1 is IN6_ADDR_GEN_MODE_NONE
  for (const [name, value] of Object.entries({ accept_ra: '0', autoconf: '0', accept_dad: '0', addr_gen_mode: '1' }))
    setting(`net/ipv6/conf/${CARD}/${name}`, value)
  // a path that has become narrower, or wider again, is asked for anew after so many seconds
  setting('net/ipv6/route/mtu_expires', '60')
  // as in Docker's containers: any user may use low ports and ping
  setting('net/ipv4/ip_unprivileged_port_start', '0')
  setting('net/ipv4/ping_group_range', '0 2147483647')
}

/** linux/route.h, struct rtentry: a route to everywhere by a gateway. */
function routeBy(gateway: number): Uint8Array {
  const bytes = new Uint8Array(120)
  const view = new DataView(bytes.buffer)
  // rt_dst, rt_gateway, rt_genmask: a struct sockaddr_in each; zero is everywhere
  for (const at of [8, 24, 40]) view.setUint16(at, AF_INET, true)
  view.setUint32(24 + 4, gateway)
  view.setUint16(56, RTF_UP | RTF_GATEWAY, true)
  return bytes
}

/**
 * Gives the card its address and brings it up. Its link has one other end, the node's network plane: there is nobody to
 * resolve, hence no ARP and no neighbour discovery.
 */
export function configureCard({ address, ipv4, ipv4Gateway, mtu }: NetworkSpec): void {
  withSocket(AF_INET6, (fd) => {
    const [request, view] = requestFor(CARD)
    must(`Find ${CARD}`, sys('ioctl', fd, SIOCGIFINDEX, request))
    // struct in6_ifreq: address[16], prefix length, index
    const ours = new Uint8Array(24)
    for (let i = 0; i < 16; i++) ours[i] = Number.parseInt(address.slice(i * 2, i * 2 + 2), 16)
    const ourView = new DataView(ours.buffer)
    ourView.setUint32(16, PREFIX, true)
    ourView.setInt32(20, view.getInt32(VALUE, true), true)
    view.setInt32(VALUE, mtu, true)
    must(`Set the MTU of ${CARD} to ${mtu}`, sys('ioctl', fd, SIOCSIFMTU, request))
    view.setUint32(VALUE, IFF_UP | IFF_NOARP | IFF_MULTICAST, true)
    must(`Bring up ${CARD}`, sys('ioctl', fd, SIOCSIFFLAGS, request))
    must(`Set the address of ${CARD}`, sys('ioctl', fd, SIOCSIFADDR, ours))
  })
  if (ipv4 === undefined) return
  withSocket(AF_INET, (fd) => {
    for (const [ioctl, value] of [
      [SIOCSIFADDR, ipv4],
      [SIOCSIFNETMASK, IPV4_MASK],
    ] as const) {
      const [request, view] = requestFor(CARD)
      // struct sockaddr_in: family, port, address
      view.setUint16(VALUE, AF_INET, true)
      view.setUint32(VALUE + 4, value)
      must(`Set the IPv4 address of ${CARD}`, sys('ioctl', fd, ioctl, request))
    }
    if (ipv4Gateway !== undefined)
      must('Set the way to the Internet', sys('ioctl', fd, SIOCADDRT, routeBy(ipv4Gateway)))
  })
}
