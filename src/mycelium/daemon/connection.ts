import { callable, EAGAIN, readFd, tcpRtt, tuneTcp } from '#sys'
import { decodeControl, encodeControl, type Message } from '../wire/control.ts'
import { CONTROL, FrameError, frameLength, MAX_FRAME } from '../wire/frame.ts'
import { createOutQueue, type OutQueue } from './out-queue.ts'
import { READABLE, type Reactor, type Watch, WRITABLE } from './reactor.ts'
import { CLOSED, notOurs, reasonFor, SILENT, silentFor } from './reasons.ts'

/** One read(2) for all connections; what is left of a frame is kept by its connection. */
const inBuffer = callable(MAX_FRAME + (192 << 10))
/** A frame must be whole, and a new connection must have said something, within this many milliseconds. */
const PATIENCE = 10_000
/**
 * Each peer answers the Hello we say every second. One that is silent this long has ended, though something in between still
 * acknowledges what we send. Milliseconds.
 */
const SILENCE = 45_000
/** The same for a peer that we dialled: most likely this machine has another address by now, and we can dial again. */
export const SILENCE_OF_DIALLED = 10_000
/** Checks come every second: if two are further apart than this, this node itself stood still, and no peer was silent. */
const ASLEEP = 5_000
/** Bytes that may wait unsent in the kernel: all others wait in our own queue, where urgent frames can overtake them. */
const UNSENT = 64 << 10
const USER_TIMEOUT = 20_000
/** Of the control frames that wait, so much may be news of routes: Hellos and what is asked find room behind them. */
const NEWS = 16 << 10
/**
 * Bytes that may wait unread in the kernel. They are past being reordered by urgency, so a near peer gets no more than we read
 * in one turn. A far peer needs a window as large as its round trip is long. NEAR: milliseconds of round trip.
 */
const UNREAD_NEAR = 96 << 10
const NEAR = 5
const NO_BYTES = Buffer.alloc(0)

export type ConnectionEvents = {
  message: (connection: Connection, message: Message) => void
  /** A data frame at BYTES[at, at+length): valid during the call only. */
  data: (connection: Connection, bytes: Buffer, at: number, length: number) => void
  closed: (connection: Connection, reason: string) => void
  /** While somebody captures: each whole frame, as it comes in and as it is queued to go out. */
  frame?: (connection: Connection, direction: 'in' | 'out', bytes: Buffer, at: number, length: number) => void
  /** A counted reason for which a peer was cut off. */
  fault: (name: string) => void
}

export type Connection = {
  id: number
  endpoint: string
  queue: OutQueue
  stats: { bytesIn: number; bytesOut: number; framesIn: number; dropped: number }
  /** Something was queued: an urgent frame leaves at once if it is the first of this turn, others with the next `flush`. */
  queued: (urgent: boolean) => void
  /** At the end of a turn. */
  settle: () => void
  send: (message: Message) => void
  flush: () => void
  /** False while news of routes are to wait. */
  readonly hasRoom: boolean
  /** Closes a connection that keeps us waiting. */
  check: (now: number) => void
  close: (reason: string) => void
}

/** TCP as peers want it. */
export function tuneForPeers(fd: number): void {
  const near = tcpRtt(fd) < NEAR
  tuneTcp(fd, { unsent: UNSENT, userTimeout: USER_TIMEOUT, ...(near ? { unread: UNREAD_NEAR } : {}) })
}

export function createConnection(
  reactor: Reactor,
  fd: number,
  id: number,
  endpoint: string,
  events: ConnectionEvents,
  silence = SILENCE,
): Connection {
  tuneForPeers(fd)
  const queue = createOutQueue((bytes, at, length) => events.frame?.(connection, 'out', bytes, at, length))
  const stats = { bytesIn: 0, bytesOut: 0, framesIn: 0, dropped: 0 }
  /** What is left of a frame, in memory that grows to the largest. */
  let rest = NO_BYTES
  let left = 0
  let dirty = false
  let prompt = true
  let waitingSince = reactor.now
  let heardAt = reactor.now
  let checkedAt = reactor.now
  const watch: Watch = reactor.watch(fd, READABLE, ready)

  function close(reason: string): void {
    if (watch.closed) return
    reactor.close(watch)
    queue.close()
    events.closed(connection, reason)
  }

  function ready(what: number): void {
    // one read a turn: others wait, and the kernel keeps the rest
    if (what & READABLE) read()
    if (what & WRITABLE && !watch.closed) flush()
  }

  function read(): void {
    if (left > 0) rest.copy(inBuffer, 0, 0, left)
    const n = readFd(fd, inBuffer, left, inBuffer.length - left)
    if (n === -EAGAIN) return
    if (n <= 0) {
      close(n === 0 ? CLOSED : reasonFor(n))
      return
    }
    stats.bytesIn += n
    heardAt = reactor.now
    const end = left + n
    let used = 0
    try {
      used = frames(end)
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      events.fault(error.fault)
      close(notOurs(error.message))
      return
    }
    if (watch.closed) return
    left = end - used
    if (left === 0) {
      waitingSince = 0
      return
    }
    if (left > rest.length) rest = Buffer.allocUnsafeSlow(Math.max(left, Math.min(rest.length * 2, MAX_FRAME)))
    inBuffer.copy(rest, 0, used, end)
    if (used > 0 || waitingSince === 0) waitingSince = reactor.now
  }

  function frames(end: number): number {
    let at = 0
    while (at < end && !watch.closed) {
      const length = frameLength(inBuffer, at, end)
      if (length === 0) break
      stats.framesIn++
      events.frame?.(connection, 'in', inBuffer, at, length)
      if (inBuffer[at + 1] === CONTROL) {
        for (const message of decodeControl(inBuffer, at, at + length)) events.message(connection, message)
      } else events.data(connection, inBuffer, at, length)
      at += length
    }
    return at
  }

  function flush(): void {
    if (watch.closed) return
    dirty = false
    const sent = queue.flush(fd)
    if (sent < 0) {
      close(reasonFor(sent))
      return
    }
    stats.bytesOut += sent
    watch.events = queue.waiting > 0 ? READABLE | WRITABLE : READABLE
  }

  const connection: Connection = {
    id,
    endpoint,
    queue,
    stats,
    close,
    flush,
    queued(urgent) {
      dirty = true
      if (!urgent || !prompt) return
      prompt = false
      flush()
    },
    settle() {
      prompt = true
      if (dirty) flush()
    },
    send(message) {
      if (watch.closed) return
      const bytes = encodeControl(message)
      const at = queue.reserve(bytes.length, true)
      if (at < 0) {
        // 64 KiB of waiting control messages: nothing has moved for a long time
        events.fault('control-queue-full')
        close('it takes nothing from us')
        return
      }
      bytes.copy(queue.bytes, at)
      queue.commit(at, bytes.length)
      dirty = true
    },
    get hasRoom() {
      return queue.waitingFirst < NEWS
    },
    check(now) {
      const asleep = now - checkedAt > ASLEEP ? now - checkedAt : 0
      checkedAt = now
      heardAt += asleep
      if (waitingSince > 0) waitingSince += asleep
      if (waitingSince > 0 && now - waitingSince >= PATIENCE) {
        events.fault(stats.framesIn === 0 ? 'never-spoke' : 'unfinished-frame')
        close(stats.framesIn === 0 ? SILENT : 'it left a frame unfinished')
      } else if (now - heardAt > silence) close(silentFor(silence / 1000))
    },
  }
  return connection
}
