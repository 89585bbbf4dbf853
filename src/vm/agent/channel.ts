import { Readable, Writable } from 'node:stream'
import { ZosError } from '#codec'
import type { Line } from './line.ts'
import { decodeJson, encodeCredit, encodeFrame, encodeJson, Frame, getU32, WINDOW } from './protocol.ts'
import type { AgentFailure } from './types.ts'

/** One frame of at most this; smaller than the protocol's limit, so that streams take turns. */
const PIECE = 32_756
const HELD = 64 * 1024

/** Bytes to the guest, as many at a time as it granted. */
export type Outlet = { writable: Writable; grant(bytes: number): void; fail(error: Error): void }

/** GATE: nothing is sent before it resolves. */
export function openOutlet(
  line: Line,
  stream: number,
  credit: number,
  gate: Promise<unknown> = Promise.resolve(),
): Outlet {
  let available = credit
  let wake: (() => void) | undefined
  const send = (chunk: Buffer, done: (error?: Error | null) => void): void => {
    let at = 0
    while (at < chunk.length && available > 0) {
      const length = Math.min(chunk.length - at, available, PIECE)
      line.send(encodeFrame(Frame.data, stream, chunk.subarray(at, at + length)))
      available -= length
      at += length
    }
    if (at === chunk.length) done()
    else wake = () => send(chunk.subarray(at), done)
  }
  const writable = new Writable({
    highWaterMark: HELD,
    write: (chunk: Buffer, _encoding, done) => void gate.then(() => send(chunk, done), done),
    final: (done) =>
      void gate.then(() => {
        line.send(encodeFrame(Frame.end, stream, new Uint8Array(0)))
        done()
      }, done),
  })
  // a caller that never writes need not listen
  writable.on('error', () => {})
  return {
    writable,
    grant(bytes) {
      available += bytes
      const go = wake
      wake = undefined
      go?.()
    },
    fail: (error) => void writable.destroy(error),
  }
}

/** Bytes from the guest; more are granted as the reader takes them. */
export type Inlet = { readable: Readable; put(bytes: Buffer): void; end(): void; fail(error: Error): void }

export function openInlet(line: Line, stream: number): Inlet {
  let owed = 0
  let full = false
  const pay = () => {
    if (owed === 0) return
    line.send(encodeCredit(stream, owed))
    owed = 0
  }
  const readable = new Readable({
    highWaterMark: HELD,
    read() {
      full = false
      pay()
    },
  })
  readable.on('error', () => {})
  return {
    readable,
    put(bytes) {
      if (readable.destroyed) {
        // nobody reads: let it flow, so that the program is not held up by us
        line.send(encodeCredit(stream, bytes.length))
        return
      }
      owed += bytes.length
      if (!readable.push(bytes)) full = true
      if (!full && owed >= WINDOW / 4) pay()
    },
    end: () => void (readable.destroyed || readable.push(null)),
    fail: (error) => void readable.destroy(error),
  }
}

/** A stream of the agent with a process (or a helper of the agent) at its other end. */
export type ProcessChannel<T> = {
  stream: number
  stdin: Writable
  stdout: Readable
  stderr: Readable
  exit: Promise<T>
  /** The process never came to be. */
  drop(error: Error): void
}

export function resetError(payload: Buffer): ZosError {
  const { code, message } =
    payload.length > 0
      ? (decodeJson(payload) as AgentFailure)
      : { code: 'reset', message: 'The guest closed the stream' }
  return new ZosError(message, { code, kind: 'node' })
}

export function openProcessChannel<T>(line: Line): ProcessChannel<T> {
  const stream = line.newStream()
  const stdin = openOutlet(line, stream, WINDOW)
  const stdout = openInlet(line, stream)
  const stderr = openInlet(line, stream)
  const exit = Promise.withResolvers<T>()
  exit.promise.catch(() => {})
  const over = (error: Error) => {
    line.detach(stream)
    for (const part of [stdin, stdout, stderr]) part.fail(error)
    exit.reject(error)
  }
  line.attach(
    stream,
    (type, payload) => {
      if (type === Frame.data) stdout.put(payload)
      else if (type === Frame.errorData) stderr.put(payload)
      else if (type === Frame.credit) stdin.grant(getU32(payload, 0))
      else if (type === Frame.reset) over(resetError(payload))
      else if (type === Frame.exit) {
        line.detach(stream)
        stdout.end()
        stderr.end()
        stdin.fail(new ZosError('Write to the process: it has ended', { code: 'not-running' }))
        exit.resolve(decodeJson(payload) as T)
      }
    },
    over,
  )
  return {
    stream,
    stdin: stdin.writable,
    stdout: stdout.readable,
    stderr: stderr.readable,
    exit: exit.promise,
    drop: over,
  }
}

export function sendReset(line: Line, stream: number, failure?: AgentFailure): void {
  line.send(failure ? encodeJson(Frame.reset, stream, failure) : encodeFrame(Frame.reset, stream, new Uint8Array(0)))
}
