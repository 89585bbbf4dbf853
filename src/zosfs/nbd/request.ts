import { ZosError } from '#codec'
import { CMD, MAX_REQUEST, REQUEST_BYTES, REQUEST_MAGIC } from './protocol.ts'

export type Request = { flags: number; type: number; cookie: bigint; offset: number; length: number }

export type RequestParser = {
  /** Takes what arrived and goes on cutting. Throws `nbd-request` on garbage. */
  push(bytes: Buffer): void
  /** Goes on cutting what is left over from when it was not ready. */
  more(): void
}

/**
 * Cuts the stream after the handshake into requests for HANDLE, while READY says that there is room for one more; the
 * payload of a write is skipped.
 */
export function requestParser(ready: () => boolean, handle: (request: Request) => void): RequestParser {
  let input: Buffer = Buffer.alloc(0)
  let skip = 0
  const more = () => {
    for (;;) {
      if (skip > 0) {
        const part = Math.min(skip, input.length)
        skip -= part
        input = input.subarray(part)
      }
      if (skip > 0 || input.length < REQUEST_BYTES || !ready()) return
      if (input.readUInt32BE(0) !== REQUEST_MAGIC) {
        throw new ZosError('NBD request: wrong magic', { code: 'nbd-request' })
      }
      const high = input.readUInt32BE(16)
      const request: Request = {
        flags: input.readUInt16BE(4),
        type: input.readUInt16BE(6),
        cookie: input.readBigUInt64BE(8),
        // above 2^53: beyond every export, so that the bounds check refuses it
        offset: high < 1 << 21 ? high * 2 ** 32 + input.readUInt32BE(20) : Number.MAX_SAFE_INTEGER,
        length: input.readUInt32BE(24),
      }
      input = input.subarray(REQUEST_BYTES)
      if (request.type === CMD.WRITE) {
        if (request.length > MAX_REQUEST) {
          throw new ZosError(`NBD request: write of ${request.length} bytes`, { code: 'nbd-request' })
        }
        skip = request.length
      }
      handle(request)
    }
  }
  return {
    push(bytes) {
      input = input.length > 0 ? Buffer.concat([input, bytes]) : bytes
      more()
    },
    more,
  }
}
