import type { Duplex } from 'node:stream'
import { Frame, type FrameHandler } from './frames.ts'

type Pulled = { type: number; payload: Buffer }

/** Frames that may wait until somebody asks for them. */
const MOST_WAITING = 16

/**
 * The frames that ON hands out, to be asked for one after the other; STREAM is held back while enough wait. Undefined: it
 * was closed.
 */
export function pullFrames(stream: Duplex, on: (handle: FrameHandler) => void): () => Promise<Pulled | undefined> {
  const queue: Pulled[] = []
  let wake = () => {}
  stream.on('close', () => wake())
  on((type, payload) => {
    queue.push({ type, payload: Buffer.from(payload) })
    if (queue.length >= MOST_WAITING) stream.pause()
    wake()
  })
  return async () => {
    while (queue.length === 0 && !stream.destroyed) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const frame = queue.shift()
    if (queue.length === 0) stream.resume()
    return frame
  }
}

/** The files of a copy, up to the first frame that is none of theirs; content that is not read is skipped. */
export async function* copyRecords(
  next: () => Promise<Pulled | undefined>,
): AsyncGenerator<{ header: Buffer; content: AsyncGenerator<Buffer> }> {
  let frame = await next()
  const content = async function* () {
    for (; frame?.type === Frame.data; frame = await next()) yield frame.payload
  }
  while (frame?.type === Frame.entry) {
    const header = frame.payload
    frame = await next()
    yield { header, content: content() }
    for await (const _ of content());
  }
}
