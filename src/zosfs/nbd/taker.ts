import type { Socket } from 'node:net'
import { ZosError } from '#codec'

export type Taker = {
  /** Exactly N bytes; rejects with `nbd-handshake` when the client leaves first. One call at a time. */
  take(n: number): Promise<Buffer>
  /** Ends the taking: what came and was not taken. From then on the socket's data is somebody else's. */
  rest(): Buffer
}

/** More than any option: what comes on top of it waits in the socket. */
const HELD = 64 << 10

/** Takes exact lengths off SOCKET. Its own buffer, because a paused stream tells of partial data again and again. */
export function taker(socket: Socket): Taker {
  let held: Buffer = Buffer.alloc(0)
  let left = false
  let wake: (() => void) | undefined
  const onData = (bytes: Buffer) => {
    held = held.length > 0 ? Buffer.concat([held, bytes]) : bytes
    if (held.length > HELD) socket.pause()
    wake?.()
  }
  const onEnd = () => {
    left = true
    wake?.()
  }
  socket.on('data', onData).on('end', onEnd).on('close', onEnd)
  return {
    async take(n) {
      while (held.length < n) {
        if (left) throw new ZosError('NBD handshake: the client left', { code: 'nbd-handshake' })
        socket.resume()
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const taken = held.subarray(0, n)
      held = held.subarray(n)
      return taken
    },
    rest() {
      socket.off('data', onData).off('end', onEnd).off('close', onEnd)
      return held
    },
  }
}
