import { closeSync, openSync, writeFileSync } from 'node:fs'
import { reasonOf, ZosError } from '#codec'
import { bindFd, closeFd, enterNetwork, ioctlFd, setSocketOption, socketFd } from './ffi.ts'
import { SIOCGIFINDEX, SIOCSIFFLAGS, SIOCSIFMTU, SIOCSIFTXQLEN, TUNSETIFF } from './ioctl.ts'
import { errnoMessage } from './socket.ts'
import { check, IFF_NO_PI, IFF_UP, IFF_VNET_HDR, ifreq, NAME_SIZE, openTunDevice, TUN_DRIVER } from './tun.ts'

/** linux/if_tun.h, linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h */
const IFF_TAP = 0x0002
const AF_PACKET = 17
const SOCK_RAW_NONBLOCK_CLOEXEC = 3 | 0o4000 | 0o2000000
const SOL_PACKET = 263
const PACKET_VNET_HDR = 15
const PACKET_QDISC_BYPASS = 20
const PACKET_IGNORE_OUTGOING = 23
const ETH_P_ALL = 0x0003
const SOL_SOCKET = 1
const SO_RCVBUFFORCE = 33
const SO_SNDBUFFORCE = 32
/** The largest a tap may have: 65535 less an Ethernet header. Only frames are bounded by it, nothing is configured. */
const MTU = 0xffff - 14

/** What opening taps and TUNs writes to. */
export const OPENING_WRITES: readonly string[] = [TUN_DRIVER, '/proc/sys/net/ipv6/conf/*']

/** In the network namespace at PATH this thread runs ACT, and is back where it was when this returns. */
function within<T>(path: string, act: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r')
  let there = -1
  try {
    there = openSync(path, 'r')
    const code = enterNetwork(there)
    if (code < 0) throw new Error(errnoMessage(code))
    try {
      return act()
    } finally {
      // whatever this thread opened from here on would be somebody else's
      if (enterNetwork(home) < 0) process.abort()
    }
  } finally {
    closeSync(home)
    if (there >= 0) closeSync(there)
  }
}

export type TapOptions = {
  /** Bytes of frames that wait for us; what comes above is lost. */
  receive: number
  /** Frames that wait for the machine. */
  queue: number
}

/**
 * The other end of a machine's tap NAME, which lives in the network namespace at PATH: a non-blocking descriptor that gives
 * and takes Ethernet frames behind a 10-byte virtio header. This node's own kernel has no address on it and speaks no IPv6
 * there. Throws when the machine is gone. Needs CAP_SYS_ADMIN and CAP_NET_RAW.
 */
export function openTap(path: string, name: string, { receive, queue }: TapOptions): number {
  return within(path, () => {
    const fd = socketFd(AF_PACKET, SOCK_RAW_NONBLOCK_CLOEXEC, 0)
    check('Listen on tap', name, fd)
    try {
      const index = ifreq(name)
      check('Find tap', name, ioctlFd(fd, SIOCGIFINDEX, index))
      const set = (request: number, value: number) =>
        check(
          'Configure tap',
          name,
          ioctlFd(
            fd,
            request,
            ifreq(name, (b) => b.writeInt32LE(value, NAME_SIZE)),
          ),
        )
      writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1')
      set(SIOCSIFMTU, MTU)
      set(SIOCSIFTXQLEN, queue)
      for (const [level, option, value] of [
        [SOL_PACKET, PACKET_VNET_HDR, 1],
        [SOL_PACKET, PACKET_QDISC_BYPASS, 1],
        [SOL_PACKET, PACKET_IGNORE_OUTGOING, 1],
        [SOL_SOCKET, SO_RCVBUFFORCE, receive],
        [SOL_SOCKET, SO_SNDBUFFORCE, receive],
      ] as const)
        check('Configure tap', name, setSocketOption(fd, level, option, value))
      // struct sockaddr_ll: family u16, protocol u16 (big-endian), index i32, and what only comes back
      const address = Buffer.alloc(20)
      address.writeUInt16LE(AF_PACKET, 0)
      address.writeUInt16BE(ETH_P_ALL, 2)
      address.writeInt32LE(index.readInt32LE(NAME_SIZE), 4)
      set(SIOCSIFFLAGS, IFF_UP)
      check('Listen on tap', name, bindFd(fd, address))
      return fd
    } catch (error) {
      closeFd(fd)
      throw error
    }
  })
}

/** A new tap NAME in the namespace at PATH, as a machine's emulator makes it: it is gone with its descriptor. */
export function makeTap(path: string, name: string): number {
  return within(path, () => {
    const fd = openTunDevice(name)
    const request = ifreq(name, (b) => b.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, NAME_SIZE))
    const code = ioctlFd(fd, TUNSETIFF, request)
    if (code >= 0) return fd
    closeSync(fd)
    throw new ZosError(`Create tap "${name}": ${errnoMessage(code)}`, { code: 'tap-failed', kind: 'node' })
  })
}

/** Why machines cannot have taps in the namespace at PATH, or undefined: one is made, listened on and removed. */
export function refusesTaps(path: string, name: string): string | undefined {
  let made = -1
  let heard = -1
  try {
    made = makeTap(path, name)
    heard = openTap(path, name, { receive: 1 << 20, queue: 16 })
    return undefined
  } catch (error) {
    return reasonOf(error)
  } finally {
    // what Node opened Node closes: a worker of it closes the rest at its end, whoever has those numbers by then
    if (made >= 0) closeSync(made)
    if (heard >= 0) closeFd(heard)
  }
}
