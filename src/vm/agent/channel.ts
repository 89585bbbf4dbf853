import { Readable, Writable } from 'node:stream'
import { ZosError } from '#codec'
import { decodeExit, decodeFailure } from './decode.ts'
import type { Line } from './line.ts'
import { encodeCredit, encodeFrame, Frame, getU32, WINDOW } from './protocol.ts'
import type { ExitStatus } from './types.ts'

/** One frame of at most this; smaller than the protocol's limit, so that streams take turns. */
const PIECE = 32_756
const HELD = 64 * 1024

/** Bytes to the guest, as many at a time as it granted: the methods of a Writable. */
export type Outlet = {
  write(chunk: Buffer, encoding: string, done: (error?: Error | null) => void): void
  final(done: (error?: Error | null) => void): void
  grant(bytes: number): void
}

/** GATE: nothing is sent before it resolves. */
export function openOutlet(line: Line, stream: number, credit: number, gate?: Promise<unknown>): Outlet {
  let available = Math.min(credit, WINDOW)
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
  const end = (done: (error?: Error | null) => void): void => {
    line.send(encodeFrame(Frame.end, stream, new Uint8Array(0)))
    done()
  }
  return {
    write(chunk, _encoding, done) {
      if (gate) void gate.then(() => send(chunk, done), done)
      else send(chunk, done)
    },
    final(done) {
      if (gate) void gate.then(() => end(done), done)
      else end(done)
    },
    grant(bytes) {
      // a guest that grants more than a window would have us hold what it does not read
      available = Math.min(available + bytes, WINDOW)
      const go = wake
      wake = undefined
      go?.()
    },
  }
}

/** Bytes from the guest; more are granted as the reader takes them: `read` of a Readable, and what fills it. */
export type Inlet = {
  read(): void
  /** Throws when the guest sent more than it was granted: it would fill our memory. */
  put(readable: Readable, bytes: Buffer): void
}

/** Bytes the guest may send on a stream, all its outputs together. */
export type Allowance = { left: number }

export function openInlet(line: Line, stream: number, allowance: Allowance = { left: WINDOW }): Inlet {
  let owed = 0
  let full = false
  const pay = () => {
    if (owed === 0) return
    line.send(encodeCredit(stream, owed))
    allowance.left += owed
    owed = 0
  }
  return {
    read() {
      full = false
      pay()
    },
    put(readable, bytes) {
      allowance.left -= bytes.length
      if (allowance.left < 0)
        throw new ZosError('Talk to the agent: it sent more than it was granted', { code: 'agent-gone', kind: 'node' })
      owed += bytes.length
      // nobody reads a destroyed one: let it flow, so that the program is not held up by us
      if (!readable.destroyed && !readable.push(bytes)) full = true
      if (!full && owed >= WINDOW / 4) pay()
    },
  }
}

const ignore = (): void => {}

/** A Writable into OUTLET. A caller that never writes need not listen for its errors. */
export function writableOf({ write, final }: Outlet): Writable {
  return new Writable({ highWaterMark: HELD, write, final }).on('error', ignore)
}

function readableOf({ read }: Inlet): Readable {
  return new Readable({ highWaterMark: HELD, read }).on('error', ignore)
}

/** A stream of the agent with a process (or a helper of the agent) at its other end. */
export type ProcessChannel = {
  stream: number
  stdin: Writable
  stdout: Readable
  stderr: Readable
  exit: Promise<ExitStatus>
  /** The process never came to be. */
  drop(error: Error): void
}

export function resetError(payload: Buffer): ZosError {
  const { code, message } =
    payload.length > 0 ? decodeFailure(payload) : { code: 'reset', message: 'The guest closed the stream' }
  return new ZosError(message, { code, kind: 'node' })
}

export function openProcessChannel(line: Line): ProcessChannel {
  const stream = line.newStream()
  const outlet = openOutlet(line, stream, WINDOW)
  const allowance: Allowance = { left: WINDOW }
  const inlets = [openInlet(line, stream, allowance), openInlet(line, stream, allowance)] as const
  const stdin = writableOf(outlet)
  const stdout = readableOf(inlets[0])
  const stderr = readableOf(inlets[1])
  const exit = Promise.withResolvers<ExitStatus>()
  exit.promise.catch(ignore)
  const over = (error: Error) => {
    line.detach(stream)
    for (const part of [stdin, stdout, stderr]) part.destroy(error)
    exit.reject(error)
  }
  line.attach(stream, {
    handle(type, payload) {
      if (type === Frame.data) inlets[0].put(stdout, payload)
      else if (type === Frame.errorData) inlets[1].put(stderr, payload)
      else if (type === Frame.credit) outlet.grant(getU32(payload, 0))
      else if (type === Frame.reset) over(resetError(payload))
      else if (type === Frame.exit) {
        const status = decodeExit(payload)
        line.detach(stream)
        for (const part of [stdout, stderr]) if (!part.destroyed) part.push(null)
        stdin.destroy(new ZosError('Write to the process: it has ended', { code: 'not-running' }))
        exit.resolve(status)
      }
    },
    lost: over,
  })
  return { stream, stdin, stdout, stderr, exit: exit.promise, drop: over }
}
