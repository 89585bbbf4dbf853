import type { Readable } from 'node:stream'
import { ZosError } from '#codec'
import type { CopyItem } from './agent.ts'
import { openProcessChannel, type ProcessChannel } from './channel.ts'
import { plainText } from './decode.ts'
import type { Line } from './line.ts'
import { decodeJson, encodeFrame, Frame, getU32, putU32 } from './protocol.ts'
import type { CopyEntry, Methods } from './types.ts'
import { encodeUtf8 } from './utf8.ts'

/** As the guest's helpers take and give them. */
const MAX_HEADER = 32_768

type HelperMethod = 'copyIn' | 'copyOut' | 'stat' | 'processes' | 'sync'

/** A helper of the guest at work; FINISHED rejects with what it said when it failed. */
async function openHelper<M extends HelperMethod>(
  line: Line,
  method: M,
  params: Methods[M][0],
  signal?: AbortSignal,
): Promise<ProcessChannel & { finished: Promise<void> }> {
  const channel = openProcessChannel(line)
  try {
    await line.request(method, params, { stream: channel.stream, signal })
  } catch (error) {
    channel.drop(error as Error)
    throw error
  }
  const aborted = () => {
    line.send(encodeFrame(Frame.reset, channel.stream, new Uint8Array(0)))
    channel.drop(new ZosError(`Copy in the guest: given up`, { code: 'aborted' }))
  }
  signal?.addEventListener('abort', aborted, { once: true })
  let said = ''
  channel.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(0, 4096)
  })
  const heard = new Promise<void>((done) => channel.stderr.once('close', done))
  const finished = channel.exit.then(async ({ code, reason }) => {
    signal?.removeEventListener('abort', aborted)
    if (code === 0) return
    // its words came before its exit, but a stream hands them on a turn later
    await heard
    throw new ZosError(plainText(said) || `Work in the guest: the helper ended with ${reason}`, {
      code: 'copy-failed',
      details: { method },
    })
  })
  finished.catch(() => {})
  return { ...channel, finished }
}

/** The whole answer of a helper that says one JSON value. */
export async function askHelper<M extends 'stat' | 'processes' | 'sync'>(
  line: Line,
  method: M,
  params: Methods[M][0],
): Promise<Methods[M][1]> {
  const helper = await openHelper(line, method, params)
  const parts: Buffer[] = []
  let size = 0
  for await (const part of helper.stdout as AsyncIterable<Buffer>) {
    size += part.length
    if (size > 16 << 20)
      throw new ZosError(`Ask the agent for "${method}": more than 16 MiB`, { code: 'bad-answer', kind: 'node' })
    parts.push(part)
  }
  await helper.finished
  return (size === 0 ? null : decodeJson(Buffer.concat(parts))) as Methods[M][1]
}

/** Takes exact lengths off a stream without keeping more than one chunk. */
function openReader(source: Readable) {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let held: Buffer = Buffer.alloc(0)
  /** At least one byte, at most LIMIT; undefined at the end. */
  const some = async (limit: number): Promise<Buffer | undefined> => {
    while (held.length === 0) {
      const { value, done } = await chunks.next()
      if (done) return undefined
      held = value
    }
    const part = held.subarray(0, limit)
    held = held.subarray(part.length)
    return part
  }
  const exactly = async (length: number): Promise<Buffer | undefined> => {
    const parts: Buffer[] = []
    for (let left = length; left > 0; ) {
      const part = await some(left)
      if (!part) return undefined
      parts.push(part)
      left -= part.length
    }
    return Buffer.concat(parts)
  }
  return { some, exactly }
}

const cut = (): ZosError =>
  new ZosError('Copy out of the guest: the stream ends in the middle', { code: 'copy-failed', kind: 'node' })

/** Refuses what would lead a caller that extracts it out of its folder: the guest is not trusted. */
function checked(entry: CopyEntry): CopyEntry {
  const parts = entry.path.split('/')
  const bad =
    typeof entry.path !== 'string' || entry.path.startsWith('/') || parts.includes('..') || entry.path.includes('\0')
  if (bad || !Number.isSafeInteger(entry.size) || entry.size < 0)
    throw new ZosError(`Copy out of the guest: "${entry.path}" is no entry`, { code: 'copy-failed', kind: 'node' })
  return entry
}

export async function* copyOut(
  line: Line,
  path: string,
  options: { follow?: boolean; signal?: AbortSignal },
): AsyncIterable<CopyItem> {
  const helper = await openHelper(line, 'copyOut', { path, follow: options.follow === true }, options.signal)
  const reader = openReader(helper.stdout)
  let complete = false
  try {
    for (;;) {
      const head = await reader.exactly(4)
      if (!head) {
        await helper.finished
        throw cut()
      }
      const length = getU32(head, 0)
      if (length === 0) break
      if (length > MAX_HEADER) throw cut()
      const json = await reader.exactly(length)
      if (!json) throw cut()
      const entry = checked(decodeJson(json) as CopyEntry)
      if (entry.type !== 'file') {
        yield { entry }
        continue
      }
      let left = entry.size
      const content = async function* (): AsyncIterable<Uint8Array> {
        while (left > 0) {
          const part = await reader.some(left)
          if (!part) {
            await helper.finished
            throw cut()
          }
          left -= part.length
          yield part
        }
      }
      yield { entry, content: content() }
      // whatever the caller did not read
      for await (const _ of content());
    }
    await helper.finished
    complete = true
  } finally {
    if (!complete) {
      line.send(encodeFrame(Frame.reset, helper.stream, new Uint8Array(0)))
      helper.drop(new ZosError('Copy out of the guest: given up', { code: 'aborted' }))
    }
  }
}

export async function copyIn(
  line: Line,
  path: string,
  items: AsyncIterable<CopyItem> | Iterable<CopyItem>,
  options: { keepOwner?: boolean; signal?: AbortSignal },
): Promise<void> {
  const helper = await openHelper(line, 'copyIn', { path, keepOwner: options.keepOwner === true }, options.signal)
  // a helper that fails stops reading: its words count, not our broken pipe
  const failed = helper.finished.then(
    () => new ZosError('Copy into the guest: it ended early', { code: 'copy-failed', kind: 'node' }),
    (error: Error) => error,
  )
  const write = async (bytes: Uint8Array): Promise<void> => {
    if (helper.stdin.destroyed) throw await failed
    if (helper.stdin.write(bytes)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    helper.stdin.once('drain', resolve).once('close', resolve)
    await promise
    helper.stdin.off('drain', resolve).off('close', resolve)
    if (helper.stdin.destroyed) throw await failed
  }
  helper.stdout.resume()
  try {
    for await (const { entry, content } of items) {
      const json = encodeUtf8(JSON.stringify(entry))
      const head = new Uint8Array(4 + json.length)
      if (json.length > MAX_HEADER)
        throw new ZosError(`Copy "${entry.path}": the name is too long`, { code: 'copy-failed' })
      putU32(head, 0, json.length)
      head.set(json, 4)
      await write(head)
      let size = 0
      for await (const part of content ?? []) {
        size += part.length
        await write(part)
      }
      if (size !== (entry.type === 'file' ? entry.size : 0))
        throw new ZosError(`Copy "${entry.path}": ${size} bytes came, ${entry.size} were announced`, {
          code: 'copy-failed',
        })
    }
    await write(new Uint8Array(4))
    helper.stdin.end()
  } catch (error) {
    line.send(encodeFrame(Frame.reset, helper.stream, new Uint8Array(0)))
    helper.drop(error as Error)
    throw error
  }
  await helper.finished
}
