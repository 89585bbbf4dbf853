import type { Duplex } from 'node:stream'
import { Frame, sendFrame } from '#wire'

export type Sink = (channel: 'stdout' | 'stderr', data: Buffer) => void | Promise<void>

/** Carries output to an attached command; a slow one holds the program back, a gone one is ignored. */
export const frameSink =
  (stream: Duplex): Sink =>
  (channel, data) =>
    sendFrame(stream, channel === 'stdout' ? Frame.stdout : Frame.stderr, data)
