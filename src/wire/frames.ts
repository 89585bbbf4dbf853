import type { Duplex } from 'node:stream'
import { ZosError } from '#codec'

/**
 * Frames on an upgraded connection between command and daemon: u8 type, u32 little-endian length, payload.
 * The first frame of a stream is a request (JSON); the last one is `exit` or `error`.
 */
export const Frame = {
  request: 0,
  stdin: 1,
  stdinEnd: 2,
  /** {rows, columns} */
  resize: 3,
  /** {signal} */
  signal: 4,
  /** Bytes of a file stream (cp). */
  data: 5,
  dataEnd: 6,
  /** Header of the next file of a copy: CopyEntry as JSON; its path and linkname are latin1, a character for each byte. */
  entry: 7,
  stdout: 10,
  stderr: 11,
  /** {code, …}: the stream is over */
  exit: 12,
  /** {code, kind, message, details}: the stream is over */
  error: 13,
  /** A line for the person: what takes long and why. */
  note: 14,
  /** {id}: the workload exists. */
  started: 15,
} as const

export const MAX_FRAME = 1 << 20
const HEADER = 5

export type FrameHandler = (type: number, payload: Buffer) => void

/** Writes one frame; false when the other side should be waited for (`drain`). */
export function writeFrame(stream: Duplex, type: number, payload: Uint8Array | string | object = ''): boolean {
  const body =
    typeof payload === 'string'
      ? Buffer.from(payload)
      : payload instanceof Uint8Array
        ? payload
        : Buffer.from(JSON.stringify(payload))
  const header = Buffer.allocUnsafe(HEADER)
  header.writeUInt8(type, 0)
  header.writeUInt32LE(body.length, 1)
  stream.cork()
  stream.write(header)
  const more = body.length === 0 || stream.write(body)
  stream.uncork()
  return more
}

/** Writes one frame; what it returns, if anything, resolves when the other side takes more, or is gone. */
export function sendFrame(
  stream: Duplex,
  type: number,
  payload: Uint8Array | string | object = '',
): Promise<void> | undefined {
  if (stream.destroyed || writeFrame(stream, type, payload)) return undefined
  return new Promise((resolve) => {
    const go = () => {
      stream.off('drain', go)
      stream.off('close', go)
      resolve()
    }
    stream.on('drain', go)
    stream.on('close', go)
  })
}

/** Feeds whole frames to HANDLE as bytes arrive; one above MAX_FRAME, or that HANDLE throws at, destroys the stream. */
export function readFrames(stream: Duplex, handle: FrameHandler): void {
  let held: Buffer = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    let at = 0
    while (held.length - at >= HEADER) {
      const length = held.readUInt32LE(at + 1)
      if (length > MAX_FRAME) {
        stream.destroy(
          new ZosError(`Read frame: ${length} bytes, at most ${MAX_FRAME} are allowed`, { code: 'bad-frame' }),
        )
        return
      }
      if (held.length - at < HEADER + length) break
      const payload = held.subarray(at + HEADER, at + HEADER + length)
      const type = held[at]!
      at += HEADER + length
      try {
        handle(type, payload)
      } catch (error) {
        stream.destroy(error as Error)
        return
      }
    }
    held = held.subarray(at)
  })
  // a stream that was paused while its head was read does not flow by itself again
  stream.resume()
}
