import { ZosError } from '#codec'
import { sendMessage } from './ffi.ts'
import { addressOf } from './ffi-memory.ts'
import { errnoMessage } from './socket.ts'

/** bits/socket.h */
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_NOSIGNAL = 0x4000
/** struct msghdr and struct cmsghdr where pointers have 64 bits (bits/socket.h); the latter's data is rounded up to 8. */
const MSGHDR = 56
const CMSGHDR = 16

/**
 * Writes BYTES to the unix socket SOCKET with a copy of the open file FD, which the other side takes with recvmsg(2). All of
 * it or nothing: throws `send-failed`, also where the socket has no room just now.
 */
export function sendWithFd(socket: number, bytes: Uint8Array, fd: number): void {
  const control = Buffer.alloc(CMSGHDR + 8)
  control.writeBigUInt64LE(BigInt(CMSGHDR + 4), 0)
  control.writeInt32LE(SOL_SOCKET, 8)
  control.writeInt32LE(SCM_RIGHTS, 12)
  control.writeInt32LE(fd, CMSGHDR)
  const piece = Buffer.alloc(16)
  piece.writeBigUInt64LE(BigInt(addressOf(bytes, 0)), 0)
  piece.writeBigUInt64LE(BigInt(bytes.length), 8)
  const header = Buffer.alloc(MSGHDR)
  header.writeBigUInt64LE(BigInt(addressOf(piece, 0)), 16)
  header.writeBigUInt64LE(1n, 24)
  header.writeBigUInt64LE(BigInt(addressOf(control, 0)), 32)
  header.writeBigUInt64LE(BigInt(control.length), 40)
  const sent = sendMessage(socket, header, MSG_NOSIGNAL)
  if (sent === bytes.length) return
  const why = sent < 0 ? errnoMessage(sent) : `${sent} of ${bytes.length} bytes went out`
  throw new ZosError(`Send a file's descriptor: ${why}`, { code: 'send-failed', kind: 'node' })
}
