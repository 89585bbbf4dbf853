import { Duplex } from 'node:stream'
import { ZosError } from '#codec'
import { createSender } from './sender.ts'
import { encodePiece, HEADER, type Heard, KIND, MAX_REASON, openBody, type Piece } from './wire.ts'

/** Pieces a reader may lag behind. */
const WINDOW = 32
/** The size of a piece: what our own relays carry, and what every path does. */
export const LARGE = 16 << 10
export const SMALL = 1200
/** Milliseconds until an OPEN is repeated, doubled each time up to OPEN_SLOWEST; the first LARGE_TRIES are of the large size. */
const OPEN_AGAIN = 50
const OPEN_SLOWEST = 800
const LARGE_TRIES = 4
/** A stream is over after this silence; WORD is how long we say nothing at most. Milliseconds. */
const SILENCE = 30_000
const WORD = 10_000

const broken = (what: string, reason: string): ZosError =>
  new ZosError(`${what}: ${reason}`, { code: 'stream-broken', kind: 'node' })

/** Bytes both ways between two nodes, in order, none lost, none twice; both ends hold back a sender that is too fast. */
export class Stream extends Duplex {
  /** What it is, for words. */
  readonly #what: string
  readonly #id: number
  readonly #opener: boolean
  readonly #say: (payload: Buffer) => void
  readonly #sender: ReturnType<typeof createSender>
  /** Pieces of the other side that overtook those before them. */
  readonly #early = new Map<number, Piece>()
  #expected = 0
  #ended = false
  #told = WINDOW
  #size: number
  /** Called with the size that passes, and with undefined when it does no more. */
  readonly #passes: (size: number | undefined) => void
  #accepted: boolean
  #service = ''
  #opens = 0
  #opened = 0
  #heard = performance.now()
  #spoke = 0
  #drained: (() => void) | undefined
  #finished: (() => void) | undefined
  /** What was written before the other side had accepted. */
  #postponed: (() => void) | undefined

  /** SERVICE: what is asked of the other side, for who opens it; undefined for who is asked. */
  constructor(at: {
    what: string
    id: number
    service: string | undefined
    /** Of pieces, as is known to pass to this node. */
    size: number | undefined
    passes: (size: number | undefined) => void
    say: (payload: Buffer) => void
    /** Called when something was said that is said again unless it is acknowledged. */
    sent: () => void
  }) {
    super({ allowHalfOpen: true })
    this.#size = at.size ?? LARGE
    this.#passes = at.passes
    this.#what = at.what
    this.#id = at.id
    this.#opener = at.service !== undefined
    this.#accepted = !this.#opener
    this.#service = at.service ?? ''
    this.#say = at.say
    this.#sender = createSender((kind, number, body) => {
      this.#put(kind, number, body)
      at.sent()
    })
    if (this.#opener) this.#open(performance.now(), at.size)
  }

  #put(kind: number, number: number, body: Buffer): void {
    this.#spoke = performance.now()
    const window = this.#room()
    this.#say(encodePiece({ kind, opener: this.#opener, window, stream: this.#id, number, body }))
  }

  /** Pieces that are welcome. */
  #room(): number {
    const unread = Math.ceil(this.readableLength / (this.#size - HEADER))
    return Math.max(0, WINDOW - unread - this.#early.size)
  }

  #open(now: number, known?: number): void {
    this.#opened = now
    this.#size = known ?? (this.#opens < LARGE_TRIES ? LARGE : SMALL)
    this.#opens++
    this.#put(KIND.open, this.#size, openBody(this.#service, known ? 0 : this.#size))
  }

  #acknowledge(): void {
    this.#told = this.#room()
    this.#put(KIND.ack, this.#expected, Buffer.alloc(0))
  }

  /** The answer to an OPEN as long as this one, also to one that is said again. */
  accept(open: Piece): void {
    this.#size = Math.min(LARGE, Math.max(SMALL, open.number))
    this.#sender.acknowledge(0, open.window, performance.now())
    this.#put(KIND.accept, this.#size, Buffer.alloc(open.body.length))
  }

  /** A piece of the other side. */
  receive(piece: Heard): void {
    const now = performance.now()
    this.#heard = now
    const { kind, number, window, text } = piece
    if (kind === KIND.reset) this.#over(text)
    else if (kind === KIND.accept) {
      if (this.#accepted || number < SMALL || number > LARGE) return
      this.#accepted = true
      this.#size = number
      this.#passes(number)
      this.#sender.acknowledge(0, window, now)
      this.#postponed?.()
      this.emit('connect')
    } else if (kind === KIND.ack) {
      this.#sender.acknowledge(number, window, now)
      this.#settle()
    } else this.#arrived(piece)
  }

  /** The other side has no such stream (any more): after both ends that is as it should be. */
  #over(reason: string): void {
    if (this.#ended && this.writableEnded) this.destroy()
    else this.destroy(broken(this.#what, reason || 'refused'))
  }

  #arrived(piece: Piece): void {
    if (piece.number >= this.#expected && piece.number < this.#expected + WINDOW) this.#early.set(piece.number, piece)
    for (let next = this.#early.get(this.#expected); next && !this.#ended; next = this.#early.get(this.#expected)) {
      this.#early.delete(this.#expected++)
      this.#ended = next.kind === KIND.end
      this.push(this.#ended ? null : next.body)
    }
    this.#acknowledge()
  }

  /** Tells those who write when there is room, and when all has arrived. */
  #settle(): void {
    if (this.#sender.isDrained) this.#call('drained')
    if (this.#sender.isDone) this.#call('finished')
  }

  #call(which: 'drained' | 'finished'): void {
    const waiting = which === 'drained' ? this.#drained : this.#finished
    if (which === 'drained') this.#drained = undefined
    else this.#finished = undefined
    waiting?.()
  }

  /** When `tick` has something to do, as far as is known now; what is sent makes it sooner. */
  get due(): number {
    const say = this.#accepted ? Math.min(this.#sender.due, this.#spoke + WORD) : this.#openAgainAt
    return Math.min(this.#heard + SILENCE, say)
  }

  get #openAgainAt(): number {
    return this.#opened + Math.min(OPEN_SLOWEST, OPEN_AGAIN * 2 ** (this.#opens - 1))
  }

  /** To be called when something is due; more often does no harm. */
  tick(now: number): void {
    if (now - this.#heard > SILENCE) this.destroy(broken(this.#what, `no word for ${SILENCE / 1000} s`))
    else if (!this.#accepted) {
      if (now > this.#openAgainAt) this.#open(now)
    } else {
      if (!this.#sender.tick(now)) {
        this.#passes(undefined)
        this.destroy(broken(this.#what, 'what is sent does not arrive'))
      } else if (now - this.#spoke > WORD) this.#acknowledge()
    }
  }

  override _write(chunk: Buffer, encoding: string, done: () => void): void {
    if (!this.#accepted) {
      this.#postponed = () => this._write(chunk, encoding, done)
      return
    }
    this.#drained = done
    this.#sender.data(chunk, this.#size, performance.now())
    this.#settle()
  }

  override _final(done: () => void): void {
    this.#finished = done
    this.#sender.end(performance.now())
  }

  override _read(): void {
    // a reader that caught up lets the other side go on
    if (this.#told < WINDOW / 2 && this.#room() >= WINDOW / 2) this.#acknowledge()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!(this.#sender.isDone && this.#ended && this.writableEnded))
      this.#put(KIND.reset, 0, Buffer.from((error?.message ?? 'closed').slice(0, MAX_REASON)))
    done(error)
  }
}
