import {
  encodeJson,
  FILLER,
  Frame,
  HEADER,
  MAGIC,
  parseFrames,
  putHeader,
  putTrailer,
  type Step,
  TRAILER,
} from '../src/vm/agent/protocol.ts'
import { encodeUtf8 } from '../src/vm/agent/utf8.ts'
import { after, cancel, changeEdges, everyTurn, IN, OUT, unwatch, watchEdges } from './loop.ts'
import { close, E, must, sys } from './native.ts'
import { openPortDevice, renewPortDevices } from './port-device.ts'

/** The kernel takes at most 32 KiB per write to a virtio port, so one frame is one write. */
const CHUNK = 32768
export const MAX_CHUNK = CHUNK - HEADER - TRAILER

/** Has frames to send now and then. */
export type Source = {
  /** Puts a payload at OUT[HEADER…] and returns seal()'s result; 0: nothing now, ask again after ready(). */
  fill(out: Uint8Array): number
  queued: boolean
}

/** How long a host that said hello may hear nothing before the port is taken for a worn one. Milliseconds. */
const WORN = 500
/** Between two looks for a port that is being made anew, in milliseconds, and how many until that is done once more. */
const LOOK_AGAIN = 10
const LOOKS = 200

type FrameHandler = (type: number, stream: number, payload: Uint8Array) => void

let fd = -1
let readable = false
let handle: FrameHandler
const step: Step = { marker: MAGIC }
const input = new Uint8Array(FILLER + CHUNK)
let start = 0
let end = 0

const out = new Uint8Array(CHUNK)
let pending: Uint8Array | null = null
let sent = 0
let blocked = false
/** Runs while nothing went out since the last hello. */
let unheard: ReturnType<typeof after> | null = null
let control: Uint8Array[] = []
let rotation: Source[] = []

/** Finds the port by its name and starts listening; the host may come at any time, even in another life of this VM. */
export function openPort(name: string, onFrame: FrameHandler): void {
  handle = onFrame
  must(`Open port ${name}`, listen(name))
  renew = () => makeAnew(name)
  everyTurn(pull)
  everyTurn(pump)
}

function listen(name: string): number {
  fd = openPortDevice(name)
  if (fd < 0) return fd
  // Edges only: while no host is connected the port is readable (end of file) all the time, and would spin
  watchEdges(fd, IN, (events) => {
    if (events & IN) readable = true
    if (blocked && events & OUT) {
      blocked = false
      changeEdges(fd, IN)
    }
  })
  return fd
}

let renew = (): void => {}

/** What the old buffers held was for hosts that are gone; the one that is there says nothing before it heard from us. */
function makeAnew(name: string): void {
  const words = encodeUtf8('zinit: nothing goes out by the port; it is made anew\n')
  sys('write', 2, words, words.length)
  unheard = null
  unwatch(fd)
  close(fd)
  readable = false
  blocked = true
  renewPortDevices()
  let looks = 0
  const look = () => {
    if (listen(name) >= 0) {
      readable = true
      blocked = false
      return
    }
    if (++looks % LOOKS === 0) renewPortDevices()
    after(LOOK_AGAIN, look)
  }
  look()
}

/** Reads what is there, in portions that leave room for the rest of the loop. */
function pull(): boolean {
  for (let turns = 0; readable && turns < 24; turns++) {
    if (start === end) start = end = 0
    else if (end > CHUNK) {
      input.copyWithin(0, start, end)
      end -= start
      start = 0
    }
    const got = sys('read', fd, input.subarray(end), input.length - end)
    if (got === -E.EAGAIN) readable = false
    else if (got <= 0) {
      // No host, or one whose data came before the kernel heard that it is there: what was read so far stands. A host
      // that died half-way through a frame is followed by one that starts with filler, which ends that frame.
      readable = false
    } else {
      end += got
      start = parseFrames(step, input, start, end, handle, () => MAGIC)
    }
  }
  return readable
}

/** Sends until the port is full or nobody has anything; one frame from each source in turn. */
function pump(): boolean {
  for (let turns = 0; !blocked && turns < 24; turns++) {
    if (!pending) {
      const first = control.shift()
      if (first) pending = first
      else {
        const source = rotation.shift()
        if (!source) return false
        const length = source.fill(out)
        if (length === 0) {
          source.queued = false
          continue
        }
        rotation.push(source)
        pending = out.subarray(0, length)
      }
      sent = 0
    }
    const put = sys('write', fd, pending.subarray(sent), pending.length - sent)
    if (put > 0) {
      sent += put
      if (unheard) heard()
    } else {
      blocked = true
      changeEdges(fd, IN | OUT)
    }
    if (sent === pending.length) pending = null
  }
  return !blocked
}

function heard(): void {
  cancel(unheard)
  unheard = null
}

/** Completes the frame whose payload of LENGTH bytes was put at OUT[HEADER]; returns the frame's length. */
export function seal(type: number, stream: number, length: number): number {
  putHeader(out, 0, type, stream, length)
  putTrailer(out, HEADER + length)
  return HEADER + length + TRAILER
}

export function ready(source: Source): void {
  if (source.queued) return
  source.queued = true
  rotation.push(source)
}

/** Small frames that go before the streams. */
export function send(frame: Uint8Array): void {
  control.push(frame)
}

export function sendJson(type: number, stream: number, value: unknown): void {
  send(encodeJson(type, stream, value))
}

export function fail(stream: number, code: string, message: string, exitCode?: number): void {
  sendJson(Frame.reply, stream, { error: exitCode === undefined ? { code, message } : { code, message, exitCode } })
}

/** A new host: nothing that was meant for the old one is sent. */
export function forgetOutgoing(): void {
  for (const source of rotation) source.queued = false
  rotation = []
  control = []
  pending = null
  unheard ??= after(WORN, () => renew())
}
