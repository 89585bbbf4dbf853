import { randomBytes } from 'node:crypto'
import { type Duplex, pipeline } from 'node:stream'
import { codeOf, reasonOf } from '#codec'
import { formatAddress } from '../address.ts'
import type { Identity } from '../identity.ts'
import type { Admission, Ticket } from './admission.ts'
import { SHORTEST } from './sender.ts'
import { Stream } from './stream.ts'
import { encodePiece, type Heard, KIND, type Piece } from './wire.ts'

/** Milliseconds between two looks at what is late, at least. */
const TICK = 50
/** Milliseconds between two looks at who has had enough, while others have streams here. */
const TICKETS = 1_000
/** Streams of all others at once, and of each. */
const ALL = 1024
const EACH = 128
/** Nodes of which is known how long a piece may be. */
const SIZES = 4096

/** Where the bytes of a stream that another node opened go to and come from; throws why it is refused. */
export type Service = (from: { address: Buffer; publicKey: string }) => Duplex

export type Streams = {
  /** Opens a stream to what the node at ADDRESS has as SERVICE; it is broken when the node does not answer or has none. */
  dial: (address: Uint8Array, service: string) => Duplex
  /** What a sealed body of type 19 for this node said. */
  receive: (from: { address: Buffer; publicKey: string }, piece: Heard) => void
  /** What became of the streams that others opened, by reason; those open by who opened them. */
  status: () => { counters: Record<string, number>; open: Record<string, number> }
  close: () => void
}

/** Streams of bytes between this node and others, over bodies that SEND puts on their way and that may be lost. */
export function openStreams(
  identity: Identity,
  services: Readonly<Record<string, Service>>,
  send: (to: Buffer, payloads: Buffer[]) => void,
  admission?: Admission,
): Streams {
  const counters: Record<string, number> = {}
  const streams = new Map<string, Stream>()
  const perNode = new Map<string, number>()
  const sizes = new Map<string, number>()
  const tickets = new Map<Stream, Ticket>()
  let outgoing: { to: Buffer; payloads: Buffer[] }[] = []
  let timer: NodeJS.Timeout | undefined
  let dueAt = Number.POSITIVE_INFINITY

  /** What is said in one turn goes together. */
  function say(to: Buffer, payload: Buffer): void {
    if (outgoing.length === 0) setImmediate(flush)
    const last = outgoing.at(-1)
    if (last?.to.equals(to)) last.payloads.push(payload)
    else outgoing.push({ to, payloads: [payload] })
  }

  function flush(): void {
    const now = outgoing
    outgoing = []
    for (const { to, payloads } of now) send(to, payloads)
  }

  /** Looks at what is late at AT: a stream that is only kept open wakes nobody. */
  function arm(at: number): void {
    if (at >= dueAt) return
    clearTimeout(timer)
    dueAt = at
    timer = setTimeout(tick, Math.max(TICK, at - performance.now())).unref()
  }

  function tick(): void {
    dueAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (const stream of streams.values()) {
      stream.tick(now)
      if (!stream.destroyed) next = Math.min(next, stream.due)
    }
    for (const [stream, ticket] of tickets) {
      const why = ticket.over(now)
      if (!why) continue
      count(why.code)
      stream.destroy(why)
    }
    if (tickets.size > 0) next = Math.min(next, now + TICKETS)
    if (next < Number.POSITIVE_INFINITY) arm(next)
  }

  /** By the node at the other end, who opened it, and its number. */
  const keyOf = (node: Buffer, byThem: boolean, id: number): string => `${node.toString('hex')} ${byThem} ${id}`

  function keep(to: Buffer, id: number, service: string | undefined, what: string): Stream {
    const key = keyOf(to, service === undefined, id)
    const node = to.toString('hex')
    const passes = (size: number | undefined) => {
      sizes.delete(node)
      if (size === undefined) return
      sizes.set(node, size)
      if (sizes.size > SIZES) sizes.delete(sizes.keys().next().value!)
    }
    const sent = () => arm(performance.now() + SHORTEST)
    const known = { size: sizes.get(node), passes }
    const stream = new Stream({ what, id, service, ...known, say: (payload) => say(to, payload), sent })
    streams.set(key, stream)
    perNode.set(node, (perNode.get(node) ?? 0) + 1)
    arm(stream.due)
    stream.once('close', () => {
      streams.delete(key)
      const left = perNode.get(node)! - 1
      if (left > 0) perNode.set(node, left)
      else perNode.delete(node)
    })
    return stream
  }

  const count = (name: string): void => {
    counters[name] = (counters[name] ?? 0) + 1
  }

  function refuse(to: Buffer, { stream, opener }: Piece, reason: string): void {
    const body = Buffer.from(reason)
    say(to, encodePiece({ kind: KIND.reset, opener: !opener, window: 0, stream, number: 0, body }))
  }

  function opened(from: { address: Buffer; publicKey: string }, piece: Heard): void {
    const name = piece.text
    const service = Object.hasOwn(services, name) ? services[name] : undefined
    const node = from.address.toString('hex')
    const reject = (code: string, reason: string) => {
      count(code)
      refuse(from.address, piece, reason)
    }
    if (!service) reject('no-such-service', 'it offers no such service')
    else if (streams.size >= ALL || (perNode.get(node) ?? 0) >= EACH) reject('streams', 'too many streams')
    else {
      let ticket: Ticket | undefined
      let inside: Duplex
      try {
        ticket = admission?.enter(from.publicKey)
        inside = service(from)
        // what cannot be joined any more would throw behind this, at whoever brought the piece
        if (inside.destroyed) throw inside.errored ?? new Error('it is closed')
      } catch (error) {
        ticket?.leave()
        reject(codeOf(error) || 'failed', reasonOf(error))
        return
      }
      count('opened')
      const stream = keep(from.address, piece.stream, undefined, `Serve "${name}" to ${formatAddress(from.address)}`)
      // whichever end breaks breaks the other
      if (!ticket) pipeline(stream, inside, stream, () => {})
      else {
        tickets.set(stream, ticket)
        arm(performance.now() + TICKETS)
        pipeline(stream, ticket.meter(), inside, ticket.meter(), stream, () => {})
        stream.once('close', () => {
          tickets.delete(stream)
          ticket.leave()
        })
      }
      stream.accept(piece)
    }
  }

  return {
    dial(address, service) {
      const to = Buffer.from(address)
      let id = randomBytes(4).readUInt32BE()
      while (streams.has(keyOf(to, false, id))) id = randomBytes(4).readUInt32BE()
      return keep(to, id, service, `Reach "${service}" at ${formatAddress(to)}`)
    },

    receive(from, piece) {
      if (from.address.equals(identity.address)) return
      const stream = streams.get(keyOf(from.address, piece.opener, piece.stream))
      if (stream && piece.kind === KIND.open) stream.accept(piece)
      else if (stream && !stream.destroyed) stream.receive(piece)
      else if (piece.kind === KIND.open) opened(from, piece)
      // one that is over says so once more; to a RESET nothing is said
      else if (piece.kind !== KIND.reset) refuse(from.address, piece, 'there is no such stream')
    },

    status: () => ({ counters, open: admission?.open() ?? {} }),

    close() {
      for (const stream of streams.values()) stream.destroy()
      flush()
      clearTimeout(timer)
    },
  }
}
