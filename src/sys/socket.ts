import { isIPv4 } from 'node:net'
import { getSystemErrorMessage } from 'node:util'
import { ZosError } from '#codec'
import {
  acceptFd,
  bindFd,
  closeFd,
  connectFd,
  getSocketOption,
  listenFd,
  setSocketOption,
  socketFd,
  socketPairFd,
} from './ffi.ts'

/**
 * TCP sockets as plain non-blocking descriptors, for a thread that sleeps in poll(2) itself: Node's own sockets have
 * neither TCP_NOTSENT_LOWAT nor the kernel's round-trip time, and cost an event-loop turn per read.
 * Constants: asm-generic/socket.h, bits/socket.h, linux/in6.h, linux/tcp.h.
 */
const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
const SOCK_SEQPACKET = 5
const SOL_SOCKET = 1
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_RCVBUF = 8
const IPPROTO_TCP = 6
const TCP_NODELAY = 1
const TCP_INFO = 11
const TCP_USER_TIMEOUT = 18
const TCP_NOTSENT_LOWAT = 25
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const EINPROGRESS = 115
const ENAMETOOLONG = 36
/** offsetof(struct tcp_info, tcpi_rtt): microseconds, u32 */
const TCP_INFO_RTT = 68

/** offsetof(struct sockaddr_in6, sin6_scope_id), linux/in6.h */
const SCOPE_AT = 24

/** An IP literal and a port; for a link-local one the number of the interface it is on. */
export type SocketAddress = { ip: string; port: number; scope?: number }

/** "message (NAME)" of an errno, as Node words it. */
export const errnoMessage = (code: number): string => getSystemErrorMessage(-Math.abs(code))

/**
 * The 16 bytes of an IPv6 literal (no zone), undefined when TEXT is none. Node's own check compiles an expression for 20 ms
 * when it is first asked, on each thread.
 */
export function ipv6Bytes(text: string): Buffer | undefined {
  const dotted = /^(.*:)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)
  if (dotted && !isIPv4(text.slice(dotted[1]!.length))) return undefined
  const [a, b, c, d] = dotted ? dotted.slice(2).map(Number) : []
  const plain = dotted ? `${dotted[1]}${((a! << 8) | b!).toString(16)}:${((c! << 8) | d!).toString(16)}` : text
  const [head = '', tail, ...more] = plain.split('::')
  const parts = (s = '') => (s === '' ? [] : s.split(':'))
  const words = [parts(head), parts(tail)] as const
  const count = words[0].length + words[1].length
  // "::" stands for at least one word
  if (more.length > 0 || (tail === undefined ? count !== 8 : count > 7)) return undefined
  if (!words.flat().every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return undefined
  const [before, after] = words.map((all) => all.map((word) => Number.parseInt(word, 16))) as [number[], number[]]
  const bytes = Buffer.alloc(16)
  before.forEach((w, i) => {
    bytes.writeUInt16BE(w, i * 2)
  })
  after.forEach((w, i) => {
    bytes.writeUInt16BE(w, 16 - (after.length - i) * 2)
  })
  return bytes
}

function sockaddr({ ip, port, scope }: SocketAddress): Buffer {
  const v4 = isIPv4(ip)
  const bytes = Buffer.alloc(v4 ? 16 : 28)
  bytes.writeUInt16LE(v4 ? AF_INET : AF_INET6, 0)
  bytes.writeUInt16BE(port, 2)
  if (v4) {
    ip.split('.').forEach((part, i) => {
      bytes[4 + i] = Number(part)
    })
  } else {
    ipv6Bytes(ip)!.copy(bytes, 8)
    bytes.writeUInt32LE(scope ?? 0, SCOPE_AT)
  }
  return bytes
}

function peerOf(bytes: Buffer): SocketAddress {
  const port = bytes.readUInt16BE(2)
  if (bytes.readUInt16LE(0) === AF_INET) return { ip: bytes.subarray(4, 8).join('.'), port }
  const mapped = bytes.subarray(8, 20).equals(Buffer.from('00000000000000000000ffff', 'hex'))
  if (mapped) return { ip: bytes.subarray(20, 24).join('.'), port }
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(8 + i * 2).toString(16))
  const scope = bytes.readUInt32LE(SCOPE_AT)
  return { ip: words.join(':'), port, ...(scope > 0 ? { scope } : {}) }
}

/** Listens on ADDRESS ("::" takes IPv4 too): the descriptor, or -errno. */
export function listenTcp(address: SocketAddress): number {
  const fd = socketFd(isIPv4(address.ip) ? AF_INET : AF_INET6, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if (fd < 0) return fd
  setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, 1)
  if (!isIPv4(address.ip)) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, address.ip === '::' ? 0 : 1)
  const failed = Math.min(bindFd(fd, sockaddr(address)), 0) || Math.min(listenFd(fd, 128), 0)
  if (failed === 0) return fd
  closeFd(fd)
  return failed
}

/** Starts connecting: the descriptor, writable once it is decided (then ask `connectError`), or -errno. */
export function connectTcp(address: SocketAddress): number {
  const fd = socketFd(isIPv4(address.ip) ? AF_INET : AF_INET6, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if (fd < 0) return fd
  const n = connectFd(fd, sockaddr(address))
  if (n === 0 || n === -EINPROGRESS) return fd
  closeFd(fd)
  return n
}

const SUN_PATH = 108

/** Two sockets that are each other's end, as a byte stream or as packets: descriptors. Throws when there are none left. */
export function socketPair(kind: 'stream' | 'packets'): [number, number] {
  const pair = new Int32Array(2)
  const type = kind === 'stream' ? SOCK_STREAM_NONBLOCK_CLOEXEC : SOCK_SEQPACKET | NONBLOCK_CLOEXEC
  const made = socketPairFd(AF_UNIX, type, pair)
  if (made < 0)
    throw new ZosError(`Make a pair of sockets: ${errnoMessage(made)}`, { code: 'socket-failed', kind: 'node' })
  return [pair[0]!, pair[1]!]
}

/** Connects to the unix stream socket at PATH, at once or not at all: the descriptor, or -errno. */
export function connectUnix(path: string): number {
  const name = Buffer.from(path)
  if (name.length >= SUN_PATH) return -ENAMETOOLONG
  const address = Buffer.alloc(2 + SUN_PATH)
  address.writeUInt16LE(AF_UNIX, 0)
  name.copy(address, 2)
  const fd = socketFd(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if (fd < 0) return fd
  const n = connectFd(fd, address)
  if (n === 0) return fd
  closeFd(fd)
  return n
}

/** How connecting ended: 0 or an errno. */
export function connectError(fd: number): number {
  const value = Buffer.alloc(4)
  const n = getSocketOption(fd, SOL_SOCKET, SO_ERROR, value)
  return n < 0 ? -n : value.readInt32LE(0)
}

const acceptAddress = Buffer.alloc(28)

/** The next waiting connection and where it comes from; -errno (EAGAIN when none waits). */
export function acceptTcp(fd: number): { fd: number; peer: SocketAddress } | number {
  const accepted = acceptFd(fd, acceptAddress, NONBLOCK_CLOEXEC)
  return accepted < 0 ? accepted : { fd: accepted, peer: peerOf(acceptAddress) }
}

export type TcpTuning = {
  /** Bytes the kernel holds that are not yet sent: little, so that what is queued can still be reordered by us. */
  unsent: number
  /** Bytes the kernel keeps for us that we have not read yet; without it, as many as it likes. */
  unread?: number
  /** Milliseconds sent data may stay unacknowledged before the kernel gives the connection up. */
  userTimeout: number
}

export function tuneTcp(fd: number, tuning: TcpTuning): void {
  setSocketOption(fd, IPPROTO_TCP, TCP_NODELAY, 1)
  setSocketOption(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, tuning.unsent)
  setSocketOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, tuning.userTimeout)
  // the kernel doubles it, for its own bookkeeping
  if (tuning.unread !== undefined) setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, tuning.unread)
}

/** The kernel's smoothed round-trip time of a connection in milliseconds. */
export function tcpRtt(fd: number): number {
  const info = Buffer.alloc(TCP_INFO_RTT + 4)
  return getSocketOption(fd, IPPROTO_TCP, TCP_INFO, info) < info.length ? 0 : info.readUInt32LE(TCP_INFO_RTT) / 1000
}
