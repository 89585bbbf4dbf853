import type { Duplex } from 'node:stream'
import { codeOf, reasonOf, ZosError } from '#codec'
import { Frame, readFrames, writeFrame } from '#wire'

/** Frames of one command, first the request, then whatever HANDLE is given later. */
export type Session = { request: unknown; on: (handle: (type: number, payload: Buffer) => void) => void }

/** Frames that may wait for a handler before the command is held back. */
const EARLY_FRAMES = 16

function session(stream: Duplex): Promise<Session> {
  return new Promise((resolve, reject) => {
    let handle: ((type: number, payload: Buffer) => void) | undefined
    let begun = false
    // a command need not wait for us: what follows its request at once is kept until somebody listens
    const early: [number, Buffer][] = []
    stream.on('close', () => reject(new ZosError('Read request: the command went away', { code: 'client-gone' })))
    readFrames(stream, (type, payload) => {
      if (handle) return handle(type, payload)
      if (begun) {
        early.push([type, Buffer.from(payload)])
        if (early.length >= EARLY_FRAMES) stream.pause()
        return undefined
      }
      begun = true
      try {
        if (type !== Frame.request)
          throw new ZosError(`Read request: frame type ${type} came first`, { code: 'bad-frame' })
        resolve({
          request: JSON.parse(payload.toString()),
          on: (listener) => {
            handle = listener
            for (const [t, p] of early.splice(0)) listener(t, p)
            stream.resume()
          },
        })
      } catch (error) {
        reject(error)
      }
      return undefined
    })
  })
}

/** Serves one framed stream; what SERVE throws reaches the command as an error frame. */
export function framed(
  serve: (stream: Duplex, session: Session) => Promise<void>,
): (call: unknown, open: () => Duplex) => Promise<void> {
  return async (_call, open) => {
    const stream = open()
    stream.on('error', () => stream.destroy())
    // a command that ended has closed only its half: the other would stay open until something is written to it
    stream.on('end', () => stream.destroy())
    try {
      await serve(stream, await session(stream))
      stream.end()
    } catch (error) {
      if (stream.destroyed) return
      const known = error instanceof ZosError
      writeFrame(stream, Frame.error, {
        code: codeOf(error) || 'bug',
        kind: known ? error.kind : 'bug',
        message: reasonOf(error),
        details: known ? error.details : {},
      })
      stream.end()
    }
  }
}
