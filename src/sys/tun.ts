import { closeSync, openSync, writeFileSync } from 'node:fs'
import { codeOf, reasonOf, ZosError } from '#codec'
import { closeFd, ioctlFd, setTunOffload, socketFd } from './ffi.ts'
import {
  IFREQ_SIZE,
  IN6_IFREQ_SIZE,
  SIOCGIFINDEX,
  SIOCSIFADDR,
  SIOCSIFFLAGS,
  SIOCSIFMTU,
  SIOCSIFTXQLEN,
  TUNSETIFF,
} from './ioctl.ts'
import { errnoMessage } from './socket.ts'

/** linux/if_tun.h, linux/if.h */
const IFF_TUN = 0x0001
export const IFF_NO_PI = 0x1000
export const IFF_VNET_HDR = 0x4000
/** checksum, TCP over IPv4, TCP over IPv6 */
const TUN_F_CSUM_TSO = 0x01 | 0x02 | 0x04
export const IFF_UP = 0x1
const IFF_UP_RUNNING = IFF_UP | 0x40
const AF_INET6 = 10
const SOCK_DGRAM = 2
const O_RDWR_NONBLOCK_CLOEXEC = 0o2 | 0o4000 | 0o2000000
export const TUN_DRIVER = '/dev/net/tun'
/** linux/if.h: IFNAMSIZ */
export const NAME_SIZE = 16

export type TunOptions = {
  name: string
  /** The interface's address and prefix length: the prefix becomes an on-link route. */
  address: Uint8Array
  prefix: number
  mtu: number
  /** Packets come and go with a 10-byte virtio header and may be larger than the MTU (segmentation offload). */
  offload: boolean
  /** Packets the kernel keeps for us before it drops. */
  queue: number
}

export function ifreq(name: string, value?: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.alloc(IFREQ_SIZE)
  bytes.write(name, 0, NAME_SIZE - 1, 'latin1')
  value?.(bytes)
  return bytes
}

export function check(what: string, name: string, code: number): void {
  if (code >= 0) return
  const errno = -code
  const hint =
    errno === 1
      ? ': run it as root or with CAP_NET_ADMIN'
      : errno === 16
        ? ': another program holds it; choose another name or end that program'
        : errno === 13
          ? ': is IPv6 disabled here (net.ipv6.conf.all.disable_ipv6)?'
          : errno === 22 && what.startsWith('Create')
            ? ': an interface of another kind has that name; choose another name'
            : ''
  throw new ZosError(`${what} "${name}": ${errnoMessage(errno)}${hint}`, {
    code: 'tun-failed',
    kind: 'node',
    details: { errno },
  })
}

/** A descriptor on the kernel's TUN driver, for the interface NAME to be. */
export function openTunDevice(name: string): number {
  try {
    return openSync(TUN_DRIVER, O_RDWR_NONBLOCK_CLOEXEC)
  } catch (cause) {
    const hint = codeOf(cause) === 'ENOENT' ? ': load the kernel module "tun"' : ': run it as root'
    throw new ZosError(`Open TUN interface "${name}": ${reasonOf(cause)}${hint}`, {
      code: 'tun-failed',
      kind: 'node',
      cause,
    })
  }
}

/** Creates the interface, gives it its address and brings it up: a non-blocking descriptor that carries IP packets. */
export function openTun(options: TunOptions): number {
  const { name } = options
  if (!/^[a-zA-Z0-9_.-]{1,15}$/.test(name))
    throw new ZosError(`Open TUN interface "${name}": the name must be 1 to 15 letters, digits, ".", "_" or "-"`, {
      code: 'bad-tun-name',
    })
  const fd = openTunDevice(name)
  try {
    configure(fd, options)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Who takes the interface down and up again finds the address there: otherwise the kernel forgets it, and nobody gives another. */
function keepAddress(name: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/keep_addr_on_down`, '1')
  } catch {
    // in some containers nothing there may be written
  }
}

function configure(fd: number, { name, address, prefix, mtu, offload, queue }: TunOptions): void {
  const flags = IFF_TUN | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0)
  const created = ioctlFd(
    fd,
    TUNSETIFF,
    ifreq(name, (b) => b.writeUInt16LE(flags, NAME_SIZE)),
  )
  check('Create TUN interface', name, created)
  if (offload) check('Set offloads of TUN interface', name, setTunOffload(fd, TUN_F_CSUM_TSO))
  const control = socketFd(AF_INET6, SOCK_DGRAM, 0)
  check('Configure TUN interface', name, control)
  try {
    const set = (request: number, value: number) =>
      check(
        'Configure TUN interface',
        name,
        ioctlFd(
          control,
          request,
          ifreq(name, (b) => b.writeInt32LE(value, NAME_SIZE)),
        ),
      )
    set(SIOCSIFMTU, mtu)
    set(SIOCSIFTXQLEN, queue)
    keepAddress(name)
    const index = ifreq(name)
    check('Configure TUN interface', name, ioctlFd(control, SIOCGIFINDEX, index))
    // struct in6_ifreq: address, prefix length u32, interface index i32
    const request = Buffer.alloc(IN6_IFREQ_SIZE)
    request.set(address)
    request.writeUInt32LE(prefix, 16)
    request.writeInt32LE(index.readInt32LE(NAME_SIZE), 20)
    // up first: the kernel installs the on-link route when an address joins an interface that is up
    set(SIOCSIFFLAGS, IFF_UP_RUNNING)
    check('Give an address to TUN interface', name, ioctlFd(control, SIOCSIFADDR, request))
  } finally {
    closeFd(control)
  }
}
