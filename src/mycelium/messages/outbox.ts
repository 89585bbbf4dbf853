import { randomBytes } from 'node:crypto'
import { blake3 } from '@noble/hashes/blake3.js'
import { ZosError } from '#codec'
import { formatAddress } from '../address.ts'
import { MAX_MESSAGE } from './inbox.ts'
import { encodePiece, MAX_TOPIC, type Piece, SMALLEST_CHUNK } from './wire.ts'

/** Upstream's: bytes of a chunk, and how long sending is tried, in milliseconds. */
const CHUNK_SIZE = 1300
const SEND_WINDOW = 5 * 60_000
const MAX_MESSAGES = 256
const MAX_BYTES = 64 << 20
/** Chunks on their way: at first, at least and at most. */
const FIRST_IN_FLIGHT = 32
const LEAST_IN_FLIGHT = 4
const MOST_IN_FLIGHT = 256
/** An unanswered piece is sent again after two round trips and this, then twice, then four times as long. Milliseconds. */
const FIRST_RETRY = 100
const LAST_RETRY = 2_000
/** A receiver silent for this long may have been started anew and forgotten what it had. */
const BEGIN_ANEW = 4_000

type Chunk = { sentAt: number; tries: number; acked: boolean }
type State = 'pending' | 'sending' | 'received' | 'read' | 'aborted'

type Outgoing = {
  id: string
  to: Buffer
  reply: boolean
  topic: Buffer
  data: Buffer
  size: number
  checksum: Buffer
  state: State
  created: number
  deadline: number
  chunks: Chunk[]
  /** All before it were acknowledged. */
  firstOpen: number
  inFlight: number
  window: number
  rtt: number
  tries: number
  saidAt: number
  heardAt: number
}

/** Where a chunk begins: the last one is no smaller than receivers take, at the cost of the one before it. */
function startOf({ size, chunks }: Outgoing, index: number): number {
  if (index < chunks.length - 1 || index === 0) return index * CHUNK_SIZE
  return index === chunks.length ? size : Math.min(index * CHUNK_SIZE, size - SMALLEST_CHUNK)
}

/** As the public daemon's API says it: seconds since 1970, and how far it is. */
export type OutgoingStatus = {
  dst: string
  state: 'pending' | 'received' | 'read' | 'aborted' | { sending: { pending: number; sent: number; acked: number } }
  created: number
  deadline: number
  msgLen: number
}

export type NewMessage = { to: Buffer; topic: Buffer; data: Buffer; replyTo?: string }

/** Says messages piece by piece until each is acknowledged; SEND puts pieces on their way, which may lose any of them. */
export function createOutbox(send: (to: Buffer, pieces: Buffer[]) => void) {
  const all = new Map<string, Outgoing>()
  let bytes = 0

  const isOver = ({ state }: Outgoing) => state === 'received' || state === 'read' || state === 'aborted'

  function finish(one: Outgoing, state: State): void {
    if (!isOver(one)) bytes -= one.size
    one.state = state
    one.data = Buffer.alloc(0)
    one.chunks = []
  }

  /** What is said first, or last. */
  function control({ id, to, reply, size, topic, state, chunks, checksum }: Outgoing): void {
    const piece: Piece =
      state === 'pending'
        ? { kind: 'init', id, ack: false, reply, length: size, topic }
        : { kind: 'done', id, ack: false, chunks: chunks.length, checksum }
    send(to, [encodePiece(piece)])
  }

  const patience = (one: Outgoing, tries: number) =>
    Math.min(Math.max(FIRST_RETRY, one.rtt * 2 + FIRST_RETRY / 2) * 2 ** Math.min(tries - 1, 2), LAST_RETRY)

  function begin(one: Outgoing, now: number): void {
    const count = Math.ceil(one.size / CHUNK_SIZE)
    one.state = 'sending'
    one.chunks = Array.from({ length: count }, () => ({ sentAt: 0, tries: 0, acked: false }))
    one.firstOpen = 0
    one.inFlight = 0
    one.tries = 0
    pump(one, now)
  }

  /** Sends chunks that are due, as many as may be on their way; when none is left, that all were sent. */
  function pump(one: Outgoing, now: number): void {
    const pieces: Buffer[] = []
    let lost = false
    for (let index = one.firstOpen; index < one.chunks.length; index++) {
      const chunk = one.chunks[index]!
      if (chunk.acked) continue
      const isNew = chunk.tries === 0
      if (isNew && one.inFlight >= one.window) break
      if (!isNew && now - chunk.sentAt < patience(one, chunk.tries)) continue
      if (isNew) one.inFlight++
      else lost = true
      chunk.tries++
      chunk.sentAt = now
      const offset = startOf(one, index)
      const data = one.data.subarray(offset, startOf(one, index + 1))
      pieces.push(encodePiece({ kind: 'chunk', id: one.id, ack: false, index, offset, data }))
    }
    if (lost) one.window = Math.max(LEAST_IN_FLIGHT, one.window / 2)
    if (pieces.length > 0) send(one.to, pieces)
    if (one.firstOpen < one.chunks.length || now - one.saidAt < patience(one, one.tries)) return
    one.tries++
    one.saidAt = now
    control(one)
  }

  function chunkAcknowledged(one: Outgoing, index: number, now: number): void {
    const chunk = one.chunks[index]
    if (!chunk || chunk.acked || chunk.tries === 0) return
    if (chunk.tries === 1) one.rtt = one.rtt === 0 ? now - chunk.sentAt : one.rtt * 0.9 + (now - chunk.sentAt) * 0.1
    chunk.acked = true
    one.inFlight--
    one.window = Math.min(MOST_IN_FLIGHT, one.window + 1 / 4)
    while (one.chunks[one.firstOpen]?.acked) one.firstOpen++
    if (one.firstOpen === one.chunks.length) one.saidAt = Number.NEGATIVE_INFINITY
    pump(one, now)
  }

  function look(one: Outgoing, now: number): void {
    if (isOver(one)) {
      if (now > one.deadline + SEND_WINDOW) all.delete(one.id)
    } else if (now >= one.deadline) {
      finish(one, 'aborted')
      send(one.to, [encodePiece({ kind: 'aborted', id: one.id, ack: false })])
    } else if (one.state === 'sending' && now - one.heardAt < BEGIN_ANEW) pump(one, now)
    else if (one.state === 'sending' || now - one.saidAt >= patience(one, one.tries)) {
      one.state = 'pending'
      one.tries++
      one.saidAt = now
      control(one)
    }
  }

  function makeRoom(size: number): void {
    for (const one of all.values()) if (all.size >= MAX_MESSAGES && isOver(one)) all.delete(one.id)
    if (all.size >= MAX_MESSAGES || bytes + size > MAX_BYTES)
      throw new ZosError(`Send a message: ${all.size} are on their way already; try again when some have arrived`, {
        code: 'outbox-full',
        kind: 'node',
      })
  }

  return {
    /** Puts a message on its way and returns its id. */
    push({ to, topic, data, replyTo }: NewMessage, now: number): string {
      if (data.length > MAX_MESSAGE)
        throw new ZosError(`Send a message: ${data.length} bytes, one has at most ${MAX_MESSAGE}`, {
          code: 'message-too-large',
        })
      if (topic.length > MAX_TOPIC)
        throw new ZosError(`Send a message: a topic of ${topic.length} bytes, one has at most ${MAX_TOPIC}`, {
          code: 'topic-too-large',
        })
      makeRoom(data.length)
      const id = replyTo ?? randomBytes(8).toString('hex')
      const begun: Outgoing = {
        id,
        to,
        reply: replyTo !== undefined,
        topic,
        data,
        size: data.length,
        checksum: Buffer.from(blake3(data)),
        state: 'pending',
        created: Date.now(),
        deadline: now + SEND_WINDOW,
        chunks: [],
        firstOpen: 0,
        inFlight: 0,
        window: FIRST_IN_FLIGHT,
        rtt: 0,
        tries: 1,
        saidAt: now,
        heardAt: now,
      }
      const before = all.get(id)
      if (before) finish(before, 'aborted')
      all.set(id, begun)
      bytes += data.length
      control(begun)
      return id
    },

    /** What a receiver says about one of ours; FROM must be who it went to. */
    heard(from: Buffer, piece: Piece, now: number): void {
      const one = all.get(piece.id)
      if (!one?.to.equals(from)) return
      one.heardAt = now
      if (piece.kind === 'init' && one.state === 'pending') begin(one, now)
      else if (piece.kind === 'chunk' && one.state === 'sending') chunkAcknowledged(one, piece.index, now)
      else if (piece.kind === 'done' && one.state === 'sending' && one.firstOpen === one.chunks.length)
        finish(one, 'received')
      else if (piece.kind === 'read' && !piece.ack && one.state === 'received') one.state = 'read'
    },

    status(id: string): OutgoingStatus | undefined {
      const one = all.get(id)
      if (!one) return undefined
      const sent = one.chunks.filter((chunk) => chunk.tries > 0 && !chunk.acked).length
      const acked = one.chunks.filter((chunk) => chunk.acked).length
      const sending = { pending: one.chunks.length - sent - acked, sent, acked }
      const created = Math.floor(one.created / 1000)
      return {
        dst: formatAddress(one.to),
        state: one.state === 'sending' ? { sending } : one.state,
        created,
        deadline: created + SEND_WINDOW / 1000,
        msgLen: one.size,
      }
    },

    tick(now: number): void {
      for (const one of all.values()) look(one, now)
    },

    /** Something is on its way or its end may still be asked for. */
    get isBusy(): boolean {
      return all.size > 0
    },
  }
}
