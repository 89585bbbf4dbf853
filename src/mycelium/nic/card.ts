import { readFileSync, statSync } from 'node:fs'
import { reasonOf } from '#codec'
import { connectUnix, EAGAIN, openTap, readFd, writeFd } from '#sys'
import { packetBuffer, VNET_HEADER } from '../daemon/offload.ts'
import { READABLE, type Reactor } from '../daemon/reactor.ts'
import type { NicSpec } from './network.ts'
import { finish, leave } from './unfinished.ts'
import { ETHERNET, MAX_FRAME, openWire, type Wire, type WireEvents } from './wire.ts'

/** Frames and bytes read before others get their turn. */
const BATCH = 64
const BATCH_BYTES = 192 << 10
/** Frames the kernel keeps for a machine that is slower than what it is sent. */
const QUEUE = 256
/** Bytes the kernel keeps for us: what a card with no limit, and one with, may have under way. */
const RECEIVE = 4 << 20
const RECEIVE_LIMITED = 512 << 10

export type CardEvents = WireEvents & { count: (name: string) => void }

/**
 * The wire to the card at PATH of SPEC: the unix socket of a machine, or a file that says "tap PID NAME", the machine's process
 * and its tap in that process's network namespace. Undefined while no machine is there.
 */
export function openCard(reactor: Reactor, spec: NicSpec, headroom: number, events: CardEvents): Wire | undefined {
  const file = statSync(spec.path, { throwIfNoEntry: false })
  if (!file) return undefined
  if (file.isSocket()) {
    const fd = connectUnix(spec.path)
    return fd < 0 ? undefined : openWire(reactor, fd, headroom, events)
  }
  const said = /^tap ([0-9]+) ([a-z0-9]{1,15})\n$/.exec(readFileSync(spec.path, 'latin1'))
  if (!said) {
    events.count('nic-unknown')
    return undefined
  }
  const receive = spec.network.rate === undefined ? RECEIVE : RECEIVE_LIMITED
  try {
    return tapWire(reactor, openTap(`/proc/${said[1]}/ns/net`, said[2]!, { receive, queue: QUEUE }), headroom, events)
  } catch (error) {
    // most likely the machine has just ended
    events.count('nic-refused')
    events.closed(reasonOf(error))
    return undefined
  }
}

/** Frames one by one, each behind a virtio header: checksums are left to whoever needs them. Closes FD with it. */
function tapWire(reactor: Reactor, fd: number, headroom: number, events: CardEvents): Wire {
  const incoming = packetBuffer(headroom + MAX_FRAME)
  const { bytes } = incoming
  const start = headroom - VNET_HEADER
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
      if (length >= ETHERNET && finish(incoming, headroom, length)) events.frame(incoming, headroom, length)
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
