import { blake3 } from '@noble/hashes/blake3.js'
import { leavesRoom } from '../share.ts'
import { type Piece, SMALLEST_CHUNK } from './wire.ts'

/** The largest message taken; how many bytes and messages may be under way to us (one sender's bytes: `leavesRoom`). */
export const MAX_MESSAGE = 8 << 20
const ALL_BYTES = 32 << 20
const ALL = 1024
const PER_SENDER = 8
/** A sender that has said nothing for this long has left. Milliseconds. */
const PATIENCE = 60_000
/** Ids of the latest messages: what was taken once is acknowledged again, not taken again. */
const REMEMBERED = 4096
/** Replies of a conversation share one id: one with the same bytes, this soon (milliseconds), counts as a repetition. */
const SAID_AGAIN = 30_000

export type Sender = { address: Buffer; publicKey: string }
export type Whole = { id: string; reply: boolean; from: Sender; topic: Buffer; data: Buffer }

type Incoming = {
  from: Sender
  reply: boolean
  topic: Buffer
  data: Buffer
  /** Sizes of the chunks that came, by index. */
  chunks: Map<number, number>
  heardAt: number
  /** Being written to disk. */
  keeping: boolean
}

export type InboxOptions = {
  /** Whether SENDER may send to TOPIC; replies are not asked about. */
  allowed: (topic: Buffer, sender: Sender) => boolean
  hasRoom: (size: number, publicKey: string) => boolean
  /** Keeps a message for good; what throws is tried again when its sender says again that it is done. */
  keep: (whole: Whole) => Promise<void>
  count: (name: string) => void
}

/** Puts messages together from what senders say; `receive` tells whether that may be acknowledged. */
export function createInbox({ allowed, hasRoom, keep, count }: InboxOptions) {
  const incoming = new Map<string, Incoming>()
  /** By id: the hash of its bytes and when it was last said; undefined for messages from before a restart. */
  const taken = new Map<string, { checksum: Buffer; at: number } | undefined>()
  let bytes = 0

  function forget(key: string, one: Incoming): void {
    incoming.delete(key)
    bytes -= one.data.length
  }

  function begin(key: string, from: Sender, piece: Piece & { kind: 'init' }, now: number): boolean {
    if (!piece.reply && !allowed(piece.topic, from)) return refused('topic-refused')
    if (piece.length > MAX_MESSAGE) return refused('message-too-large')
    const known = incoming.get(key)
    // said again because our answer was lost: what has come since stays
    if (known?.data.length === piece.length && known.topic.equals(piece.topic)) return true
    if (known) forget(key, known)
    const ofSender = [...incoming.values()].filter((one) => one.from.publicKey === from.publicKey)
    const has = ofSender.reduce((sum, { data }) => sum + data.length, 0)
    const isFull = incoming.size >= ALL || ofSender.length >= PER_SENDER
    if (isFull || !leavesRoom(has, bytes, piece.length, ALL_BYTES) || !hasRoom(piece.length, from.publicKey))
      return refused('inbox-full')
    bytes += piece.length
    incoming.set(key, {
      from,
      reply: piece.reply,
      topic: Buffer.from(piece.topic),
      data: Buffer.alloc(piece.length),
      chunks: new Map(),
      heardAt: now,
      keeping: false,
    })
    return true
  }

  function refused(name: string): boolean {
    count(name)
    return false
  }

  function chunk(one: Incoming, { index, offset, data }: Piece & { kind: 'chunk' }): boolean {
    const end = offset + data.length
    const isLast = end === one.data.length
    if (end > one.data.length || (data.length < SMALLEST_CHUNK && !isLast)) return refused('bad-chunk')
    if (index > one.data.length / SMALLEST_CHUNK) return refused('bad-chunk')
    data.copy(one.data, offset)
    one.chunks.set(index, data.length)
    return true
  }

  async function done(key: string, one: Incoming, piece: Piece & { kind: 'done' }, now: number): Promise<boolean> {
    if (one.keeping) return false
    let size = 0
    for (const length of one.chunks.values()) size += length
    if (one.chunks.size !== piece.chunks || size !== one.data.length) return refused('incomplete-message')
    if (!piece.checksum.equals(blake3(one.data))) return refused('bad-checksum')
    const before = taken.get(key)
    if (before?.checksum.equals(piece.checksum) && now - before.at < SAID_AGAIN) {
      before.at = now
      forget(key, one)
      return true
    }
    if (!hasRoom(one.data.length, one.from.publicKey)) return refused('inbox-full')
    one.keeping = true
    const { from, reply, topic, data } = one
    try {
      await keep({ id: piece.id, reply, from, topic, data })
    } catch {
      one.keeping = false
      return refused('message-not-kept')
    }
    forget(key, one)
    remember(key, { checksum: Buffer.from(piece.checksum), at: now })
    return true
  }

  function remember(key: string, what?: { checksum: Buffer; at: number }): void {
    taken.delete(key)
    taken.set(key, what)
    if (taken.size > REMEMBERED) taken.delete(taken.keys().next().value!)
  }

  const keyOf = (publicKey: string, id: string) => `${publicKey}${id}`

  return {
    /** Of a message kept from before a restart. */
    remember: (publicKey: string, id: string): void => remember(keyOf(publicKey, id)),

    async receive(from: Sender, piece: Piece, now: number): Promise<boolean> {
      const key = keyOf(from.publicKey, piece.id)
      const one = incoming.get(key)
      // the id of a message that is no reply is never used again
      if (piece.kind === 'init') return (!piece.reply && taken.has(key)) || begin(key, from, piece, now)
      if (!one) return taken.has(key) && (piece.kind === 'chunk' || piece.kind === 'done')
      one.heardAt = now
      if (piece.kind === 'chunk') return chunk(one, piece)
      if (piece.kind === 'done') return done(key, one, piece, now)
      if (piece.kind === 'aborted' && !one.keeping) forget(key, one)
      return false
    },

    tick(now: number): void {
      for (const [key, one] of incoming) if (!one.keeping && now - one.heardAt > PATIENCE) forget(key, one)
    },

    get isBusy(): boolean {
      return incoming.size > 0
    },
  }
}
