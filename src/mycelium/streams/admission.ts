import { Transform } from 'node:stream'
import { ZosError } from '#codec'

/** How a node that opens streams is known: of the grid's nodes, of a group's people, or not at all. */
export type Rank = 'node' | 'member' | 'stranger'

/** What those of one rank may have: streams at once and opened in a second, each and together; bytes a second, together. */
export type Share = {
  each: number
  together: number
  opensEach: number
  opensTogether: number
  bytes: number
  /** Of one stream, both directions; a stream with nothing for so many milliseconds is ended. */
  most: number
  idle: number
}

/** Seconds of opens, and of bytes, that may come at once after a pause. */
const BURST = 4
/** Nodes whose openings are remembered, of each rank. */
const KNOWN = 4096

export const SHARES: Record<Rank, Share> = {
  node: {
    each: 64,
    together: 512,
    opensEach: 50,
    opensTogether: 500,
    bytes: 256 << 20,
    most: Number.POSITIVE_INFINITY,
    idle: 120_000,
  },
  member: {
    each: 32,
    together: 256,
    opensEach: 25,
    opensTogether: 100,
    bytes: 64 << 20,
    most: Number.POSITIVE_INFINITY,
    idle: 120_000,
  },
  // a new node registers and a new person founds a group: a few questions, no uploads to speak of
  stranger: { each: 8, together: 64, opensEach: 10, opensTogether: 25, bytes: 2 << 20, most: 64 << 20, idle: 30_000 },
}

/** The place of one stream. */
export type Ticket = {
  /** What the bytes of one direction pass through, as fast as they may. */
  meter: () => Transform
  /** Why the stream has to end now, asked for once a second. */
  over: (now: number) => ZosError | undefined
  leave: () => void
}

export type Admission = {
  /** A place for a stream of the node with PUBLICKEY (hex); throws why there is none. */
  enter: (publicKey: string) => Ticket
  /** How many streams are open, by rank. */
  open: () => Record<string, number>
}

const refusal = (code: string, message: string) => new ZosError(message, { code, kind: 'node' })

/** Tokens that come back at RATE a second; what is taken may be owed, and is waited for. Times in milliseconds. */
function createTokens(rate: number, now: number) {
  let tokens = rate * BURST
  let filled = now
  return {
    has(time: number): boolean {
      tokens = Math.min(rate * BURST, tokens + ((time - filled) * rate) / 1000)
      filled = time
      return tokens >= 1
    },
    /** Milliseconds until COUNT taken at TIME will be paid. */
    take(count: number, time: number): number {
      this.has(time)
      tokens -= count
      return tokens >= 0 ? 0 : (-tokens * 1000) / rate
    },
  }
}
type Tokens = ReturnType<typeof createTokens>

function ticketOf({ most, idle }: Share, bytes: Tokens, clock: () => number, leave: () => void): Ticket {
  let passed = 0
  let last = clock()
  return {
    leave,
    over(now) {
      if (passed > most) return refusal('too-much', `more than ${most} bytes in one stream`)
      return now - last > idle ? refusal('idle', `nothing said for ${idle / 1000} s`) : undefined
    },
    meter: () =>
      new Transform({
        transform(chunk: Buffer, _encoding, done) {
          last = clock()
          passed += chunk.length
          const wait = bytes.take(chunk.length, last)
          if (wait === 0) done(null, chunk)
          else setTimeout(done, wait, null, chunk)
        },
      }),
  }
}

/**
 * Who may have how many streams: by RANKOF, the ranks apart from each other, so that whoever makes himself many keys takes from
 * other strangers alone.
 */
export function createAdmission(
  rankOf: (publicKey: string) => Rank,
  shares: Record<Rank, Share> = SHARES,
  clock: () => number = () => performance.now(),
): Admission {
  const rankState = (share: Share) => ({
    share,
    open: 0,
    opens: createTokens(share.opensTogether, clock()),
    bytes: createTokens(share.bytes, clock()),
    each: new Map<string, { open: number; opens: Tokens }>(),
  })
  const ranks = {
    node: rankState(shares.node),
    member: rankState(shares.member),
    stranger: rankState(shares.stranger),
  }

  /** What is known of a node; those who were away longest are forgotten, who has streams is not. */
  function knownOf({ each, share }: ReturnType<typeof rankState>, publicKey: string) {
    const one = each.get(publicKey) ?? { open: 0, opens: createTokens(share.opensEach, clock()) }
    each.delete(publicKey)
    if (each.size >= KNOWN) {
      const idle = each.entries().find(([, { open }]) => open === 0)
      if (idle) each.delete(idle[0])
    }
    each.set(publicKey, one)
    return one
  }

  return {
    open: () => ({ node: ranks.node.open, member: ranks.member.open, stranger: ranks.stranger.open }),
    enter(publicKey) {
      const rank = rankOf(publicKey)
      const all = ranks[rank]
      const { share } = all
      const now = clock()
      if (all.open >= share.together) throw refusal('streams-together', `too many streams of ${rank}s`)
      if (!all.opens.has(now)) throw refusal('opens-together', `too many streams of ${rank}s in a short time`)
      const one = knownOf(all, publicKey)
      if (one.open >= share.each) throw refusal('streams-of-one', `too many streams: ${share.each} at once`)
      if (!one.opens.has(now)) throw refusal('opens-of-one', `too many streams: ${share.opensEach} a second`)
      one.opens.take(1, now)
      all.opens.take(1, now)
      one.open++
      all.open++
      return ticketOf(share, all.bytes, clock, () => {
        one.open--
        all.open--
      })
    },
  }
}
