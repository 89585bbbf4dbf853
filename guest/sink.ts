import { encodeCredit, WINDOW } from '../src/vm/agent/protocol.ts'
import { arm, OUT, unwatch, watch } from './loop.ts'
import { close, E, sys } from './native.ts'
import { send } from './port.ts'

/**
 * Bytes from the host on their way into a descriptor. At most WINDOW are held; the host is granted more as they are
 * taken. Once nobody reads the other end they are thrown away, and still granted, so that no host waits for ever.
 */
export type Sink = {
  stream: number
  fd: number
  queue: Uint8Array[]
  queued: number
  granted: number
  taken: number
  ended: boolean
  /** What ending means: a pipe is closed, a socket half-closed. */
  finish: (fd: number) => void
}

export function openSink(stream: number, fd: number, finish: (fd: number) => void): Sink {
  const sink: Sink = { stream, fd, queue: [], queued: 0, granted: WINDOW, taken: 0, ended: false, finish }
  if (fd >= 0) watch(fd, () => drain(sink))
  return sink
}

export function closeWatched(fd: number): void {
  unwatch(fd)
  close(fd)
}

/** False when the host sent more than it was granted. */
export function put(sink: Sink, bytes: Uint8Array): boolean {
  sink.granted -= bytes.length
  if (sink.granted < 0 || sink.ended) return false
  let at = 0
  if (sink.queue.length === 0) at = attempt(sink, bytes)
  if (at < bytes.length) {
    sink.queue.push(bytes.slice(at))
    sink.queued += bytes.length - at
    arm(sink.fd, OUT)
  }
  grant(sink, at)
  return true
}

/** Bytes that were taken or, when nobody will read them, thrown away. */
function attempt(sink: Sink, bytes: Uint8Array): number {
  if (sink.fd < 0) return bytes.length
  const put = sys('write', sink.fd, bytes, bytes.length)
  if (put >= 0) return put
  if (put === -E.EAGAIN || put === -E.EINTR) return 0
  closeSink(sink)
  return bytes.length
}

function drain(sink: Sink): void {
  while (sink.queue.length > 0) {
    const first = sink.queue[0]!
    const put = attempt(sink, first)
    if (sink.fd < 0) return
    grant(sink, put)
    sink.queued -= put
    if (put < first.length) {
      sink.queue[0] = first.subarray(put)
      arm(sink.fd, OUT)
      return
    }
    sink.queue.shift()
  }
  if (sink.ended && sink.fd >= 0) finish(sink)
}

function grant(sink: Sink, bytes: number): void {
  sink.taken += bytes
  if (sink.taken < WINDOW / 4) return
  send(encodeCredit(sink.stream, sink.taken))
  sink.granted += sink.taken
  sink.taken = 0
}

function finish(sink: Sink): void {
  const fd = sink.fd
  sink.fd = -1
  sink.finish(fd)
}

/** No more will come; what is queued still goes out. */
export function endSink(sink: Sink): void {
  sink.ended = true
  if (sink.queue.length === 0 && sink.fd >= 0) finish(sink)
}

/** At once, whatever is queued. */
export function closeSink(sink: Sink): void {
  grant(sink, sink.queued)
  sink.queue = []
  sink.queued = 0
  if (sink.fd >= 0) finish(sink)
}
