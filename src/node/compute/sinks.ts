import type { Duplex } from 'node:stream'
import { Frame, writeFrame } from '#wire'

export type Sink = (channel: 'stdout' | 'stderr', data: Buffer) => void | Promise<void>

/** Carries output to an attached command; a slow one holds the program back, a gone one is ignored. */
export function frameSink(stream: Duplex): Sink {
  return (channel, data) => {
    if (stream.destroyed) return
    if (writeFrame(stream, channel === 'stdout' ? Frame.stdout : Frame.stderr, data)) return
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
}
