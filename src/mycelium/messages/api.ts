import { ZosError } from '#codec'
import type { Call, Handler } from '#sys'
import { addressOf, parseOverlayAddress } from '../address.ts'
import type { Message, Messages } from './messages.ts'

/** Seconds a call may wait. */
const LONGEST_WAIT = 3600
const ID = /^[0-9a-f]{16}$/
/** The public daemon's, where they are not the usual ones. */
const CREATED = 201
const NOT_IN_TIME = 408

/** A message as it is handed over; names and forms are the public daemon's. Topic and payload in base64. */
export type MessageInfo = {
  id: string
  srcIp: string
  srcPk: string
  dstIp: string
  dstPk: string
  topic?: string
  payload: string
}

const bad = (message: string): ZosError => new ZosError(message, { code: 'bad-message' })

function fromBase64(value: unknown, what: string): Buffer {
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) throw bad(`Read ${what}: it is not base64`)
  return Buffer.from(value, 'base64')
}

function seconds(query: URLSearchParams, name: string): number {
  const value = Number(query.get(name) ?? 0)
  if (!(value >= 0 && value <= LONGEST_WAIT)) throw bad(`Read ${name} "${value}": it is 0 to ${LONGEST_WAIT} seconds`)
  return value
}

function destination(dst: unknown): Buffer {
  const { ip, pk } = (dst ?? {}) as { ip?: unknown; pk?: unknown }
  if (typeof ip === 'string') return parseOverlayAddress(ip)
  if (typeof pk === 'string' && /^[0-9a-f]{64}$/i.test(pk)) return addressOf(Buffer.from(pk, 'hex'))
  throw bad('Send a message: "dst" is {"ip": ADDRESS} or {"pk": 64 hex digits}')
}

function idOf(text: string): string {
  const id = text.toLowerCase()
  if (!ID.test(id)) throw bad(`Read message id "${text}": it is 16 hex digits`)
  return id
}

function described(message: Message): MessageInfo {
  const { id, srcIp, srcPk, dstIp, dstPk, topic, payload } = message
  const base = { id, srcIp, srcPk, dstIp, dstPk, payload: payload.toString('base64') }
  return topic === '' ? base : { ...base, topic: Buffer.from(topic, 'hex').toString('base64') }
}

/** Aborted when who called has gone: what nobody would get must not be taken. */
function untilGone({ request }: Call): AbortSignal {
  const gone = new AbortController()
  request.socket.once('close', () => gone.abort())
  return gone.signal
}

/** The calls under /api/v1/messages, as the public daemon's HTTP API has them. */
export function messageCalls(messages: Messages): Record<string, Handler> {
  const { topics } = messages

  function push(body: unknown, replyTo?: string): string {
    const { dst, topic, payload } = (body ?? {}) as { dst?: unknown; topic?: unknown; payload?: unknown }
    return messages.push({
      to: destination(dst),
      topic: topic === undefined || topic === null ? Buffer.alloc(0) : fromBase64(topic, 'topic'),
      data: fromBase64(payload, 'payload'),
      ...(replyTo === undefined ? {} : { replyTo }),
    })
  }

  const topicOf = ({ params }: Call) => fromBase64(params.topic, 'topic')

  return {
    'GET /api/v1/messages': async (call) => {
      const { query } = call
      const topic = query.get('topic')
      const message = await messages.take(
        { topic: topic === null ? undefined : fromBase64(topic, 'topic') },
        { peek: query.get('peek') === 'true', timeout: seconds(query, 'timeout') * 1000, signal: untilGone(call) },
      )
      return message && described(message)
    },
    'POST /api/v1/messages': async (call) => {
      const wait = seconds(call.query, 'reply_timeout')
      const id = push(call.body)
      if (!call.query.has('reply_timeout')) {
        call.answerAs(CREATED)
        return { id }
      }
      const signal = untilGone(call)
      const reply = await messages.take({ replyTo: id }, { peek: false, timeout: wait * 1000, signal })
      if (reply) return described(reply)
      call.answerAs(NOT_IN_TIME)
      return { id }
    },
    'POST /api/v1/messages/reply/:id': ({ params, body }) => void push(body, idOf(params.id!)),
    'GET /api/v1/messages/status/:id': ({ params }) => {
      const status = messages.status(idOf(params.id!))
      if (!status) throw new ZosError(`Find message "${params.id}": none of that id was sent`, { code: 'not-found' })
      return status
    },
    // ours: what was peeked at and dealt with is forgotten
    'DELETE /api/v1/messages/:id': async ({ params }) => ({ removed: await messages.remove(idOf(params.id!)) }),
    'GET /api/v1/messages/topics/default': () => ({ accept: topics.accept }),
    'PUT /api/v1/messages/topics/default': ({ body }) => {
      const { accept } = (body ?? {}) as { accept?: unknown }
      if (typeof accept !== 'boolean') throw bad('Set the default of topics: "accept" is true or false')
      return topics.setDefault(accept)
    },
    'GET /api/v1/messages/topics': () => topics.list().map((topic) => topic.toString('base64')),
    // bytes as numbers, as the public daemon takes them
    'POST /api/v1/messages/topics': async ({ body, answerAs }) => {
      if (!Array.isArray(body) || !body.every((n) => Number.isInteger(n) && n >= 0 && n < 256))
        throw bad('Add a topic: the body is its bytes, as a list of numbers')
      await topics.add(Buffer.from(body))
      answerAs(CREATED)
    },
    'DELETE /api/v1/messages/topics/:topic': (call) => topics.remove(topicOf(call)),
    'GET /api/v1/messages/topics/:topic/forward': (call) => topics.socket(topicOf(call)) ?? null,
    'PUT /api/v1/messages/topics/:topic/forward': (call) =>
      topics.forwardTo(topicOf(call), (call.body as { socketPath?: unknown } | undefined)?.socketPath),
    'DELETE /api/v1/messages/topics/:topic/forward': (call) => topics.forwardNoMore(topicOf(call)),
    'GET /api/v1/messages/topics/:topic/sources': (call) => topics.sources(topicOf(call)),
    'POST /api/v1/messages/topics/:topic/sources': async (call) => {
      const { subnet } = (call.body ?? {}) as { subnet?: unknown }
      await topics.addSource(topicOf(call), String(subnet))
      call.answerAs(CREATED)
    },
    'DELETE /api/v1/messages/topics/:topic/sources/:subnet': (call) =>
      topics.removeSource(topicOf(call), call.params.subnet!),
  }
}
