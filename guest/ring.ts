import { Frame, HEADER, putU64, RING } from '../src/vm/agent/protocol.ts'
import { arm, IN, unwatch, watch } from './loop.ts'
import { close, E, sys } from './native.ts'
import { MAX_CHUNK, ready, type Source, seal } from './port.ts'

/**
 * The main process's output until the host has it durably. Full means that nothing more is read, so the program blocks.
 * Offsets count the bytes of both channels from the start of the process.
 */
type Piece = { channel: number; from: number; to: number }

let bytes = new Uint8Array(0)
const pieces: Piece[] = []
let pipes: { fd: number; channel: number }[] = []
let acked = 0
let sent = 0
let tail = 0
let writerGone = false
let drained: () => void = () => {}

export const ring = {
  from: () => acked,
  to: () => tail,
}

const source: Source = { queued: false, fill }

/** Reads FDS (channel by channel) from now on; DONE once, when the writers have gone and everything was read. */
export function openRing(fds: { fd: number; channel: number }[], done: () => void): void {
  bytes = new Uint8Array(RING)
  pipes = fds
  drained = done
  for (const pipe of pipes) {
    watch(pipe.fd, () => take(pipe))
    arm(pipe.fd, IN)
  }
}

function take(pipe: { fd: number; channel: number }): void {
  if (pipe.fd < 0) return
  for (let turns = 0; turns < 4; turns++) {
    const room = RING - (tail - acked)
    if (room === 0) return // acknowledge() comes back to it
    const at = tail % RING
    const length = Math.min(room, RING - at, 65536)
    const got = sys('read', pipe.fd, bytes.subarray(at), length)
    if (got > 0) {
      const last = pieces.at(-1)
      if (last?.channel === pipe.channel) last.to += got
      else pieces.push({ channel: pipe.channel, from: tail, to: tail + got })
      tail += got
      ready(source)
      continue
    }
    if (got === -E.EAGAIN && !writerGone) break
    unwatch(pipe.fd)
    close(pipe.fd)
    pipe.fd = -1
    if (pipes.every((p) => p.fd < 0)) drained()
    return
  }
  arm(pipe.fd, IN)
}

/** The main process has ended: what is left in the pipes is all there will be. */
export function endRing(): void {
  writerGone = true
  if (pipes.every((p) => p.fd < 0)) drained()
  for (const pipe of pipes) take(pipe)
}

export function acknowledge(offset: number): void {
  if (offset <= acked || offset > tail) return
  acked = offset
  sent = Math.max(sent, acked)
  while (pieces.length > 0 && pieces[0]!.to <= acked) pieces.shift()
  for (const pipe of pipes) take(pipe)
}

/** A new host that has everything below OFFSET: what comes after is sent again. */
export function resume(offset: number): void {
  acknowledge(offset)
  sent = acked
  if (sent < tail) ready(source)
}

export const allSent = (): boolean => sent === tail

function fill(out: Uint8Array): number {
  const piece = pieces.find((p) => sent < p.to)
  if (!piece) {
    onSent()
    return 0
  }
  const at = sent % RING
  const length = Math.min(piece.to - sent, RING - at, MAX_CHUNK - 8)
  putU64(out, HEADER, sent)
  out[HEADER + 7] = piece.channel
  out.set(bytes.subarray(at, at + length), HEADER + 8)
  sent += length
  return seal(Frame.output, 0, 8 + length)
}

let onSent = (): void => {}
/** HANDLE whenever everything read so far has gone out. */
export function whenSent(handle: () => void): void {
  onSent = handle
}
