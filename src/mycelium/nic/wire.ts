import { callable, EAGAIN, giveBack, readFd, writeFd } from '#sys'
import { type PacketBuffer, packetBuffer } from '../daemon/offload.ts'
import { READABLE, type Reactor, type Watch, WRITABLE } from '../daemon/reactor.ts'

/** QEMU's frames: their length (u32, big-endian), then Ethernet: destination 6, source 6, type u16. */
export const LENGTH = 4
export const ETHERNET = 14
/** What QEMU's stream backend takes at most (net/net.h, NET_BUFSIZE): 4096 + 65536. */
export const MAX_FRAME = 69_632
/** Bytes that wait for a guest that is slower than what it is sent. */
const BACKLOG = 512 << 10
/** Read at once; a frame's rest waits for the next turn. */
const ROOM = MAX_FRAME + LENGTH + (64 << 10)

/** What a wire may write before a frame that it is to send. */
export const PREFIX = 10

export type WireEvents = {
  /** A frame at AT, behind its length: valid, and free to be overwritten, during the call. */
  frame: (frame: PacketBuffer, at: number, length: number) => void
  /** The connection is over, and why. */
  closed: (reason: string) => void
}

/**
 * One connection that carries frames, over the socket FD: a virtual machine's card, or its way outside. The other end is not
 * trusted: whatever it says that is no frame ends the connection. HEADROOM: bytes before each frame that the reader may
 * overwrite.
 */
export function openWire(reactor: Reactor, fd: number, headroom: number, events: WireEvents) {
  const mine = callable(headroom + ROOM)
  const incoming = packetBuffer(mine.length, mine)
  const { bytes } = incoming
  let end = headroom
  let backlog: Buffer<ArrayBuffer> | undefined
  let head = 0
  let tail = 0
  let paused = false
  const watch: Watch = reactor.watch(fd, READABLE, (what) => {
    if (what & WRITABLE && tail > 0) drain()
    if (what & READABLE && !watch.closed) read()
  })

  function shut(): void {
    if (watch.closed) return
    reactor.close(watch)
    giveBack(mine)
    if (backlog) giveBack(backlog)
  }

  function close(reason: string): void {
    if (watch.closed) return
    shut()
    events.closed(reason)
  }

  /** What is read next and how: nothing while paused, the machine waits with the rest. */
  function expect(): void {
    watch.events = (paused ? 0 : READABLE) | (tail > 0 ? WRITABLE : 0)
  }

  function read(): void {
    const n = readFd(fd, bytes, end, bytes.length - end)
    if (n === -EAGAIN) return
    if (n <= 0) {
      close('the machine let go of it')
      return
    }
    end += n
    take()
  }

  /** Hands over the whole frames there are. */
  function take(): void {
    let at = headroom
    while (!paused && end - at >= LENGTH) {
      const length = bytes.readUInt32BE(at)
      if (length < ETHERNET || length > MAX_FRAME) {
        close(`a frame of ${length} bytes`)
        return
      }
      if (end - at < LENGTH + length) break
      events.frame(incoming, at + LENGTH, length)
      if (watch.closed) return
      at += LENGTH + length
    }
    bytes.copyWithin(headroom, at, end)
    end = headroom + end - at
  }

  function drain(): void {
    const n = writeFd(fd, backlog!, head, tail - head)
    if (n < 0 && n !== -EAGAIN) {
      close('the machine takes nothing')
      return
    }
    head += Math.max(n, 0)
    if (head < tail) return
    head = 0
    tail = 0
    expect()
  }

  /** Keeps what the socket did not take of a frame, and whole frames behind it. */
  function keep(frame: Buffer, at: number, length: number): boolean {
    backlog ??= callable(BACKLOG)
    if (tail + length > BACKLOG && head > 0) {
      backlog.copyWithin(0, head, tail)
      tail -= head
      head = 0
    }
    if (tail + length > BACKLOG) return false
    frame.copy(backlog, tail, at, at + length)
    tail += length
    expect()
    return true
  }

  return {
    /** Sends FRAME[at, at+length) and overwrites PREFIX bytes before it; false when too much waits already. */
    send(frame: Buffer, at: number, length: number): boolean {
      if (watch.closed) return false
      const start = at - LENGTH
      const total = length + LENGTH
      frame.writeUInt32BE(length, start)
      if (tail > 0) return keep(frame, start, total)
      const n = writeFd(fd, frame, start, total)
      if (n === total) return true
      if (n < 0 && n !== -EAGAIN) {
        close('the machine takes nothing')
        return false
      }
      const sent = Math.max(n, 0)
      return keep(frame, start + sent, total - sent)
    },
    /** No further frame is handed over, and none taken from the machine, until `resume`. */
    pause(): void {
      paused = true
      expect()
    },
    resume(): void {
      if (watch.closed) return
      paused = false
      expect()
      take()
    },
    close: shut,
  }
}

export type Wire = ReturnType<typeof openWire>
