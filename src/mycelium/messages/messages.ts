import { join } from 'node:path'
import { ZosError } from '#codec'
import { formatAddress, parseOverlayAddress } from '../address.ts'
import type { Identity } from '../identity.ts'
import { createForwarding } from './forward.ts'
import { createInbox, type Sender, type Whole } from './inbox.ts'
import { createOutbox, type NewMessage, type OutgoingStatus } from './outbox.ts'
import { type Kept, openSpool } from './spool.ts'
import { openTopics, type Topics } from './topics.ts'
import { acknowledgement, encodePiece, type Piece } from './wire.ts'

/** How often what is on its way is looked after. Milliseconds. */
const TICK = 50
const MAX_WAITING = 256

export type Message = Kept & { payload: Buffer }
/** Which of the messages received: of a topic, or the reply to one of ours. */
export type Wanted = { topic?: Buffer | undefined; replyTo?: string | undefined }
export type TakeOptions = { peek: boolean; timeout: number; signal?: AbortSignal }

export type Messages = AsyncDisposable & {
  topics: Topics
  push: (message: NewMessage) => string
  /** The oldest message WANTED, waited for at most `timeout` ms. Unless it is a `peek`, it is gone from here then. */
  take: (wanted: Wanted, options: TakeOptions) => Promise<Message | undefined>
  /** Forgets a message that was read, and tells its sender; false when it is not here. */
  remove: (id: string) => Promise<boolean>
  status: (id: string) => OutgoingStatus | undefined
  /** From now on takes only what ALLOWED says: for whoever serves one purpose, so that nothing else fills the disk. */
  restrict: (allowed: Allowed) => void
  /** What a sealed body of type 1 for this node said. */
  receive: (from: Sender, piece: Piece) => Promise<void>
  counters: Record<string, number>
}

export type Allowed = (from: Sender, topic: Buffer, reply: boolean) => boolean

export type MessagesOptions = {
  /** The folder received messages are kept in. */
  dir: string
  identity: Identity
  /** Puts payloads on their way; each may be lost. */
  send: (to: Buffer, payloads: Buffer[]) => void
}

type Waiting = { wanted: Wanted; done: (kept: Kept | undefined) => void }

const fits = (kept: Kept, { topic, replyTo }: Wanted): boolean =>
  replyTo !== undefined
    ? kept.reply && kept.id === replyTo
    : topic === undefined || kept.topic === topic.toString('hex')

/** The messages of one node: what it sends, what it received and nobody has fetched. */
export async function openMessages({ dir, identity, send }: MessagesOptions): Promise<Messages> {
  const spool = await openSpool(dir)
  const topics = await openTopics(join(dir, 'topics.json'))
  const counters: Record<string, number> = {}
  const waiting = new Set<Waiting>()
  let timer: NodeJS.Timeout | undefined
  let allowed: Allowed = () => true

  const forward = createForwarding()
  /** Those being handed to a program: nobody else gets them meanwhile. */
  const handedOver = new Set<Kept>()

  const outbox = createOutbox((to, pieces) => send(to, pieces))
  const inbox = createInbox({
    allowed: (topic, { address }) => topics.allows(topic, address),
    hasRoom: spool.hasRoom,
    keep,
    count,
  })
  for (const { srcPk, id } of spool.entries) inbox.remember(srcPk, id)

  function count(name: string): void {
    counters[name] = (counters[name] ?? 0) + 1
  }

  function push(message: NewMessage): string {
    if (message.to.equals(identity.address))
      throw new ZosError(`Send a message to "${formatAddress(message.to)}": that is this node itself`, {
        code: 'bad-message',
      })
    const id = outbox.push(message, performance.now())
    wake()
    return id
  }

  /** The clock runs while something is on its way. */
  function wake(): void {
    timer ??= setInterval(() => {
      const now = performance.now()
      outbox.tick(now)
      inbox.tick(now)
      if (outbox.isBusy || inbox.isBusy) return
      clearInterval(timer)
      timer = undefined
    }, TICK).unref()
  }

  async function keep({ id, reply, from, topic, data }: Whole): Promise<void> {
    const { address, publicKey } = identity
    const kept: Kept = {
      id,
      reply,
      srcIp: formatAddress(from.address),
      srcPk: from.publicKey,
      dstIp: formatAddress(address),
      dstPk: publicKey.toString('hex'),
      topic: topic.toString('hex'),
      size: data.length,
    }
    const entry = await spool.put(kept, data)
    const path = reply ? undefined : topics.socket(topic)
    if (path === undefined) offer(entry)
    else void handOver(entry, path)
  }

  /** To the program that the topic is forwarded to; what it answers is the reply. Where that fails, whoever fetches it gets it. */
  async function handOver(entry: Kept, path: string): Promise<void> {
    handedOver.add(entry)
    try {
      const payload = await spool.payload(entry)
      if (!payload) return
      const data = await forward(path, payload)
      push({ to: parseOverlayAddress(entry.srcIp), topic: Buffer.alloc(0), data, replyTo: entry.id })
      await remove(entry)
      count('forwarded')
    } catch {
      count('not-forwarded')
    } finally {
      handedOver.delete(entry)
      if (spool.entries.includes(entry)) offer(entry)
    }
  }

  /** Tells who waits for such a message that it is there. */
  function offer(entry: Kept): void {
    const all = [...waiting].filter(({ wanted }) => fits(entry, wanted))
    // who waits for a reply comes before who takes anything
    const first = all.find(({ wanted }) => wanted.replyTo !== undefined)
    for (const one of first ? [first] : all) one.done(entry)
  }

  function next(wanted: Wanted, { timeout, signal }: TakeOptions): Promise<Kept | undefined> {
    const found = spool.entries.find((kept) => fits(kept, wanted) && !handedOver.has(kept))
    if (found || timeout <= 0 || signal?.aborted) return Promise.resolve(found)
    if (waiting.size >= MAX_WAITING)
      throw new ZosError(`Wait for a message: ${MAX_WAITING} wait already`, { code: 'too-many-waiting', kind: 'node' })
    return new Promise((resolve) => {
      const give = (kept: Kept | undefined) => {
        clearTimeout(limit)
        signal?.removeEventListener('abort', leave)
        waiting.delete(one)
        resolve(kept)
      }
      const leave = () => give(undefined)
      const one: Waiting = { wanted, done: give }
      const limit = setTimeout(leave, timeout)
      signal?.addEventListener('abort', leave)
      waiting.add(one)
    })
  }

  async function remove(kept: Kept): Promise<boolean> {
    if (!(await spool.remove(kept))) return false
    const { srcIp, id } = kept
    send(parseOverlayAddress(srcIp), [encodePiece({ kind: 'read', id, ack: false })])
    return true
  }

  return {
    topics,
    counters,
    status: outbox.status,
    push,
    async take(wanted, options) {
      const end = performance.now() + options.timeout
      for (;;) {
        const kept = await next(wanted, { ...options, timeout: end - performance.now() })
        if (!kept) return undefined
        const payload = await spool.payload(kept)
        // another may have been quicker
        if (payload && (options.peek || (await remove(kept)))) return { ...kept, payload }
      }
    },
    async remove(id) {
      const kept = spool.entries.find((one) => one.id === id)
      return kept ? remove(kept) : false
    },
    restrict(only) {
      allowed = only
    },
    async receive(from, piece) {
      const now = performance.now()
      // without its beginning the rest of a message is nothing
      if (piece.kind === 'init' && !piece.ack && !allowed(from, piece.topic, piece.reply)) count('sender-refused')
      else if (piece.ack || piece.kind === 'read') outbox.heard(from.address, piece, now)
      else if (await inbox.receive(from, piece, now)) send(from.address, [acknowledgement(piece)])
      if (inbox.isBusy) wake()
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      for (const one of waiting) one.done(undefined)
    },
  }
}
