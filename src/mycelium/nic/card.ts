import { EAGAIN, readFd, writeFd } from '#sys'
import { packetBuffer, VNET_HEADER } from '../daemon/offload.ts'
import { HEADROOM } from '../daemon/plane-context.ts'
import type { OpenedCard } from '../daemon/ports.ts'
import { READABLE, type Reactor } from '../daemon/reactor.ts'
import { GROWTH } from './translate.ts'
import { finish, leave } from './unfinished.ts'
import { ETHERNET, MAX_FRAME, openWire, type Wire, type WireEvents } from './wire.ts'

/** Frames and bytes read before others get their turn. */
const BATCH = 64
const BATCH_BYTES = 192 << 10
/** Bytes before each frame that its reader may overwrite. */
const ROOM_BEFORE = HEADROOM + GROWTH
/** One for all: a frame is done with when `frame` returns. */
const incoming = packetBuffer(ROOM_BEFORE + MAX_FRAME)

export type CardEvents = WireEvents & { count: (name: string) => void }

/** The wire to a card that was OPENED, or undefined. Closes its descriptor with it. */
export function cardWire(reactor: Reactor, opened: OpenedCard, events: CardEvents): Wire | undefined {
  if (opened?.kind === 'tap') return tapWire(reactor, opened.fd, events)
  if (opened?.kind === 'socket') return openWire(reactor, opened.fd, ROOM_BEFORE, events)
  if (opened?.kind === 'fault') events.count(opened.fault)
  return undefined
}

/** Frames one by one, each behind a virtio header: checksums are left to whoever needs them. Closes FD with it. */
function tapWire(reactor: Reactor, fd: number, events: CardEvents): Wire {
  const { bytes } = incoming
  const start = ROOM_BEFORE - VNET_HEADER
  let paused = false

  function close(reason: string): void {
    if (watch.closed) return
    reactor.close(watch)
    events.closed(reason)
  }

  const watch = reactor.watch(fd, READABLE, () => {
    let taken = 0
    for (let i = 0; i < BATCH && taken < BATCH_BYTES && !paused && !watch.closed; i++) {
      const n = readFd(fd, bytes, start, bytes.length - start)
      if (n === -EAGAIN) return
      if (n < 0) {
        close('the machine let go of it')
        return
      }
      taken += n
      const length = n - VNET_HEADER
      if (length >= ETHERNET && finish(incoming, ROOM_BEFORE, length)) events.frame(incoming, ROOM_BEFORE, length)
      else events.count('odd-offload')
    }
  })

  return {
    send(frame, at, length) {
      if (watch.closed) return false
      leave(frame, at, length)
      return writeFd(fd, frame, at - VNET_HEADER, VNET_HEADER + length) >= 0
    },
    pause() {
      paused = true
      watch.events = 0
    },
    resume() {
      paused = false
      watch.events = READABLE
    },
    close: () => reactor.close(watch),
  }
}
