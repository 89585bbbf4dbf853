import { callable, EAGAIN, giveBack, writeFd } from '#sys'
import { OF_THE_REST } from '../share.ts'
import { DATA, frameLength, MAX_FRAME, SOURCE_AT } from '../wire/frame.ts'
import { hashRange } from './flows.ts'

/** Bytes of a peer's waiting frames. At 2 Gbit/s a full queue is 2 ms of delay; inner TCP wants no more. */
const BULK_SIZE = 512 << 10
const URGENT_SIZE = 64 << 10
/** What one write(2) is given at most, so that an urgent frame never waits for more than this. */
const BATCH = 128 << 10
/**
 * Senders are told apart by their /64, in SHARES buckets; two in one bucket share. A sender that does not slow down loses its own
 * packets (`OF_THE_REST`). As the queue is served in order, each sender is served in proportion to what it has waiting.
 */
const SHARES = 256

/** Of the sender whose address is at BYTES[at]. */
export const shareOf = (bytes: Buffer, at: number): number => hashRange(bytes, at, at + 8) & (SHARES - 1)

/** Frames in a ring; each lies in one piece, so it is written in place and sent without a copy. */
class FrameRing {
  readonly #size: number
  #bytes: Buffer<ArrayBuffer> | undefined
  #head = 0
  #tail = 0
  /** Where the used part ends when the tail has gone round. */
  #end = 0
  used = 0
  /** Bytes of each sender's data that no batch has taken yet. */
  readonly #shares = new Int32Array(SHARES)

  constructor(size: number) {
    this.#size = size
  }

  get bytes(): Buffer {
    this.#bytes ??= callable(this.#size)
    return this.#bytes
  }

  /** Nothing may be reserved any more. */
  close(): void {
    if (this.#bytes) giveBack(this.#bytes)
    this.#bytes = undefined
    this.used = 0
  }

  get head(): number {
    return this.#head
  }

  /** Where LENGTH bytes may be written; -1 when they do not fit. */
  reserve(length: number): number {
    const size = this.#size
    if (this.used === 0) {
      this.#head = 0
      this.#tail = 0
      this.#end = 0
    }
    const wrapped = this.#tail < this.#head || (this.used > 0 && this.#tail === this.#head)
    if (wrapped) return this.#head - this.#tail >= length ? this.#tail : -1
    if (size - this.#tail >= length) return this.#tail
    return this.#head >= length ? 0 : -1
  }

  /**
   * Whether sender SHARE, if it is one, has room for LENGTH bytes beside what others have here. Not `leavesRoom`: one frame of a
   * quiet flow may take all that goes first.
   */
  hasRoom(share: number, length: number): boolean {
    return share < 0 || this.#shares[share]! + length <= (this.#size - this.used) * OF_THE_REST
  }

  #count(at: number, length: number): void {
    if (this.bytes[at + 1] === DATA) this.#shares[shareOf(this.bytes, at + SOURCE_AT)]! += length
  }

  /** Takes over the LENGTH bytes at AT, which reserve gave. */
  commit(at: number, length: number): void {
    if (at !== this.#tail) this.#end = this.#tail
    this.#tail = at + length
    this.used += length
    this.#count(at, length)
  }

  /** Bytes of whole frames at the head, in one piece, about BATCH at most; they are to be consumed before the next batch. */
  batch(): number {
    const to = this.#tail > this.#head ? this.#tail : this.#end
    let at = this.#head
    while (at < to) {
      const length = frameLength(this.bytes, at, to)
      this.#count(at, -length)
      at += length
      if (at - this.#head >= BATCH) break
    }
    return at - this.#head
  }

  consume(length: number): void {
    this.used -= length
    this.#head += length
    if (this.#head === this.#end && this.#tail < this.#head) {
      this.#head = 0
      this.#end = 0
    }
  }
}

/**
 * What waits to be sent to one peer, bounded. Control frames and packets of quiet flows go before bulk; a frame begun is
 * finished first. What does not fit is dropped by the caller: a slow peer must not hold up the others. COMMITTED sees
 * each frame as it is queued.
 */
export function createOutQueue(committed?: (bytes: Buffer, at: number, length: number) => void) {
  const urgent = new FrameRing(URGENT_SIZE)
  const bulk = new FrameRing(BULK_SIZE)
  let current = bulk
  let left = 0
  let reserved: FrameRing = bulk
  let isClosed = false

  return {
    get waiting(): number {
      return urgent.used + bulk.used
    },
    /** Bytes of what goes first. */
    get waitingFirst(): number {
      return urgent.used
    },
    /** The buffer the last `reserve` gave a place in. */
    get bytes(): Buffer {
      return reserved.bytes
    },
    /**
     * Where a frame of LENGTH bytes may be written; -1 when the queue is full, or sender SHARE has its part of it. `commit`
     * must follow.
     */
    reserve(length: number, first: boolean, share = -1): number {
      if (length > MAX_FRAME || isClosed) return -1
      if (first && length <= URGENT_SIZE && urgent.hasRoom(share, length)) {
        reserved = urgent
        const at = urgent.reserve(length)
        if (at >= 0) return at
      }
      // urgent frames beyond their sender's share wait with the bulk: making each packet a flow of its own gains nothing
      reserved = bulk
      return bulk.hasRoom(share, length) ? bulk.reserve(length) : -1
    },
    commit(at: number, length: number): void {
      reserved.commit(at, length)
      committed?.(reserved.bytes, at, length)
    },
    /** What waits is lost; nothing fits any more. */
    close(): void {
      isClosed = true
      left = 0
      urgent.close()
      bulk.close()
    },
    /** Sends until empty or the socket takes no more: bytes sent, or -errno. */
    flush(fd: number): number {
      let sent = 0
      for (;;) {
        if (left === 0) {
          current = urgent.used > 0 ? urgent : bulk
          if (current.used === 0) return sent
          left = current.batch()
        }
        const n = writeFd(fd, current.bytes, current.head, left)
        if (n < 0) return n === -EAGAIN ? sent : n
        current.consume(n)
        left -= n
        sent += n
      }
    },
  }
}

export type OutQueue = ReturnType<typeof createOutQueue>
