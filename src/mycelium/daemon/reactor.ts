import { ZosError } from '#codec'
import { callable, closeFd, EINTR, eventFd, pollFds, readFd } from '#sys'

/** bits/poll.h */
export const READABLE = 1
export const WRITABLE = 4
const ERROR = 8
const HANGUP = 16
/** bits/eventfd.h: EFD_NONBLOCK | EFD_CLOEXEC */
const EVENT_FLAGS = 0o4000 | 0o2000000

/** A descriptor being watched. Change `events` at will; `ready` gets what poll said, errors as READABLE | WRITABLE. */
export type Watch = { fd: number; events: number; ready: (events: number) => void; closed: boolean }

/** Whole milliseconds: V8 allocates an object for each fraction it hands on, and none for integers below 2^31, 24 days. */
function wholeNow(): number {
  const now = performance.now()
  return now < 2 ** 31 ? now | 0 : Math.floor(now)
}

function descriptors(length: number): Int32Array {
  const { buffer, byteOffset } = callable(length * 4)
  return new Int32Array(buffer, byteOffset, length)
}

export type Reactor = ReturnType<typeof createReactor>

/**
 * Sleeps in poll(2) on this thread until a descriptor is ready or a time has come. The thread's own event loop does not
 * turn meanwhile: others wake it through `wakeFd` and leave word elsewhere.
 */
export function createReactor() {
  let watches: Watch[] = []
  let fds = descriptors(64)
  let stopped = false
  let now = wholeNow()
  const wakeFd = eventFd(EVENT_FLAGS)
  if (wakeFd < 0)
    throw new ZosError('Create an event descriptor: the kernel refused', { code: 'eventfd', kind: 'node' })
  const counter = Buffer.alloc(8)

  function watch(fd: number, events: number, ready: (events: number) => void): Watch {
    const added: Watch = { fd, events, ready, closed: false }
    watches = [...watches, added]
    if (fds.length < watches.length * 2) fds = descriptors(fds.length * 2)
    return added
  }

  /** Waits at most MS for something to happen and handles it. */
  function turn(ms: number): void {
    // handlers may add and remove watches: each makes a new array, this turn keeps its own
    const polled = watches
    const asked = fds
    const count = polled.length
    for (let i = 0; i < count; i++) {
      const one = polled[i]!
      asked[i * 2] = one.fd
      // struct pollfd: int fd, short events, short revents: the high half comes back
      asked[i * 2 + 1] = one.events
    }
    const ready = pollFds(asked, count, ms)
    now = wholeNow()
    if (ready === -EINTR || ready === 0) return
    if (ready < 0) throw new ZosError(`Wait for packets: errno ${-ready}`, { code: 'poll', kind: 'node' })
    for (let i = 0; i < count; i++) {
      const events = asked[i * 2 + 1]! >>> 16
      const one = polled[i]!
      if (events === 0 || one.closed) continue
      one.ready(events & (ERROR | HANGUP) ? READABLE | WRITABLE : events)
    }
  }

  return {
    wakeFd,
    /** When this turn began: good enough for all that happens in it, and the clock is read once. */
    get now(): number {
      return now
    },
    watch,
    turn,
    /** Ends the watch and closes its descriptor. */
    close(one: Watch): void {
      if (one.closed) return
      one.closed = true
      watches = watches.filter((w) => w !== one)
      closeFd(one.fd)
    },
    /** Ends the watch; the descriptor lives on. */
    release(one: Watch): void {
      one.closed = true
      watches = watches.filter((w) => w !== one)
    },
    /** Calls BEFORE each turn; it returns for how many milliseconds nothing is due. */
    run(before: () => number, woken: () => void): void {
      watch(wakeFd, READABLE, () => {
        readFd(wakeFd, counter, 0, 8)
        woken()
      })
      while (!stopped) turn(Math.max(0, Math.ceil(before())))
      for (const one of watches) closeFd(one.fd)
    },
    stop(): void {
      stopped = true
    },
  }
}
