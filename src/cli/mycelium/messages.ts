import { once } from 'node:events'
import { ZosError } from '#codec'
import { MAX_MESSAGE, type MessageInfo, type OutgoingStatus, parseOverlayAddress } from '#mycelium'
import { sleep } from '#sys'
import { JSON_FLAG, parseFlags } from '../flags.ts'
import { ask } from './api-path.ts'

const PATH = '/api/v1/messages'
/** One call waits this long, seconds; waiting is many calls. */
const POLL = 30
const STATUS_EVERY = 50

function wait(command: string, text: string | undefined): number {
  const seconds = text === undefined ? Number.POSITIVE_INFINITY : Number(text)
  if (!(seconds >= 0))
    throw new ZosError(`zos mycelium ${command}: timeout "${text}" is no number of seconds`, { code: 'usage' })
  return performance.now() + seconds * 1000
}

/** How it ended: received means whole, checked and on the receiver's disk; read that somebody fetched it there. */
async function arrival(id: string, until: number): Promise<OutgoingStatus> {
  for (;;) {
    const status = await ask<OutgoingStatus>('GET', `${PATH}/status/${id}`)
    const isOver = status.state === 'received' || status.state === 'read' || status.state === 'aborted'
    if (isOver || performance.now() >= until) return status
    await sleep(STATUS_EVERY)
  }
}

async function input(): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    size += part.length
    if (size > MAX_MESSAGE)
      throw new ZosError(`zos mycelium send: a message has at most ${MAX_MESSAGE} bytes`, { code: 'message-too-large' })
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** Sends what comes on standard input; exit code 0 once the other node has it on its disk. */
export async function send(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium send', args, {
    topic: { kind: 'value', about: 'what it is about, 255 bytes at most' },
    'reply-to': { kind: 'value', about: 'ID of a message received: this is the answer to it' },
    timeout: { kind: 'value', about: 'seconds to wait; as long as it is tried (300) without it' },
    json: JSON_FLAG,
  })
  if (rest.length !== 1)
    throw new ZosError(`zos mycelium send: give one address, not ${rest.length}`, { code: 'usage' })
  parseOverlayAddress(rest[0]!)
  const until = wait('send', flags.timeout)
  const text = (value: string) => Buffer.from(value).toString('base64')
  const body = {
    dst: { ip: rest[0] },
    payload: (await input()).toString('base64'),
    ...(flags.topic === undefined ? {} : { topic: text(flags.topic) }),
  }
  const replyTo = flags['reply-to']
  const id = replyTo ?? (await ask<{ id: string }>('POST', PATH, body)).id
  if (replyTo !== undefined) await ask('POST', `${PATH}/reply/${encodeURIComponent(replyTo)}`, body)
  const status = await arrival(id, until)
  if (status.state !== 'received' && status.state !== 'read')
    throw new ZosError(
      `Send message ${id} to "${rest[0]}": ${status.state === 'aborted' ? 'given up' : 'not received yet'}; does "zos mycelium ping" reach it, and does it take messages of this topic?`,
      { code: 'not-received', kind: 'node' },
    )
  process.stdout.write(flags.json ? `${JSON.stringify({ id, ...status })}\n` : `${id} ${status.state}\n`)
  return 0
}

async function write(bytes: string | Buffer): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
}

/** Prints the oldest message of a topic; it is forgotten here once it has been written. Exit code 1 when none came. */
export async function receive(args: string[]): Promise<number> {
  const { flags, rest } = parseFlags('mycelium receive', args, {
    topic: { kind: 'value', about: 'only messages of this topic' },
    timeout: { kind: 'value', about: 'seconds to wait; for ever without it' },
    peek: { kind: 'switch', about: 'leave it there' },
    json: JSON_FLAG,
  })
  if (rest.length > 0) throw new ZosError(`zos mycelium receive: "${rest[0]}" is not understood`, { code: 'usage' })
  const until = wait('receive', flags.timeout)
  const topic =
    flags.topic === undefined ? '' : `&topic=${encodeURIComponent(Buffer.from(flags.topic).toString('base64'))}`
  for (;;) {
    const left = Math.max(0, Math.min(POLL, Math.ceil((until - performance.now()) / 1000)))
    const message = await ask<MessageInfo | undefined>('GET', `${PATH}?peek=true&timeout=${left}${topic}`)
    if (message) {
      await write(flags.json ? `${JSON.stringify(message)}\n` : Buffer.from(message.payload, 'base64'))
      if (!flags.peek) await ask('DELETE', `${PATH}/${message.id}`)
      return 0
    }
    if (performance.now() >= until) {
      process.stderr.write('zos: no message came\n')
      return 1
    }
  }
}
