import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { codeOf, reasonOf, ZosError } from '#codec'
import { sleep } from '#sys'
import type { ConnectOptions } from './agent.ts'
import { decodeReply, decodeState } from './decode.ts'
import {
  encodeFrame,
  encodeJson,
  FILLER,
  Frame,
  HEADER,
  MAGIC,
  MAX_PAYLOAD,
  NONCE,
  parseFrames,
  putU32,
  putU64,
  type Step,
  TRAILER,
  VERSION,
} from './protocol.ts'
import type { AgentState, Methods } from './types.ts'

export type StreamHandler = {
  handle: (type: number, payload: Buffer) => void
  /** Called once when the line breaks. */
  lost: (error: ZosError) => void
}

/** The socket, in step with the guest: frames out, frames in by stream, requests with their replies. */
export type Line = {
  state: AgentState
  send(frame: Uint8Array): void
  /** HANDLER gets the frames of STREAM but for replies. */
  attach(stream: number, handler: StreamHandler): void
  detach(stream: number): void
  /** A stream number never used before on this line. */
  newStream(): number
  request<M extends keyof Methods>(
    method: M,
    params: Methods[M][0],
    options?: { stream?: number; timeout?: number; signal?: AbortSignal | undefined },
  ): Promise<Methods[M][1]>
  closed: Promise<string>
  close(): Promise<void>
}

const gone = (reason: string, cause?: unknown): ZosError =>
  new ZosError(`Talk to the agent: ${reason}`, { code: 'agent-gone', kind: 'node', ...(cause ? { cause } : {}) })

const tooLong = (method: string, bytes: number): ZosError =>
  new ZosError(
    `Ask the agent to "${method}": arguments and environment take ${bytes} bytes, at most ${MAX_PAYLOAD} are possible; pass them in a file or a volume`,
    { code: 'request-too-long', details: { bytes, most: MAX_PAYLOAD } },
  )

/** QEMU makes the socket when it starts, so a missing or refusing one is tried again until the deadline. */
async function connectSocket(path: string, deadline: number, signal?: AbortSignal): Promise<Socket> {
  for (;;) {
    try {
      return await new Promise((resolve, reject) => {
        const socket = connect(path)
        socket.once('connect', () => resolve(socket.off('error', reject)))
        socket.once('error', reject)
      })
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const early = code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'EAGAIN'
      if (!early || performance.now() > deadline) throw gone(`no connection to "${path}": ${reasonOf(error)}`, error)
      await sleep(5, signal)
    }
  }
}

function helloFrame(nonce: Buffer, resumeFrom: number): Uint8Array {
  const payload = new Uint8Array(MAGIC.length + NONCE + 12)
  payload.set(MAGIC)
  payload.set(nonce, MAGIC.length)
  putU32(payload, MAGIC.length + NONCE, VERSION)
  putU64(payload, MAGIC.length + NONCE + 4, resumeFrom)
  return encodeFrame(Frame.hello, 0, payload)
}

type Pending = { resolve: (value: never) => void; reject: (error: Error) => void }

/** How long the first hello waits for its answer, in milliseconds; each further one twice as long. */
const PATIENCE = 2000
const SILENT = 'agent-silent'

/**
 * MAIN handles stream 0 from the first byte on: output follows the handshake at once. A hello that is not answered is said
 * again on a new connection: QEMU may take an earlier host's end for a full socket, and holds back what the guest says
 * until that connection has ended too (virtio-console.c flush_buf throttles after the close it has just seen).
 */
export async function openLine(path: string, options: ConnectOptions, main: StreamHandler): Promise<Line> {
  const timeout = options.timeout ?? 30_000
  const deadline = performance.now() + timeout
  for (let patience = PATIENCE, fresh = options.fresh === true; ; patience *= 2, fresh = false) {
    const socket = await connectSocket(path, deadline, options.signal)
    const left = deadline - performance.now()
    // the last one gets what would be too short for another
    const last = left < 2 * patience
    try {
      return await shakeHands(socket, { ...options, fresh, timeout: last ? left : patience }, main)
    } catch (error) {
      if (codeOf(error) !== SILENT) throw error
      if (last) throw gone(`no answer within ${timeout / 1000} s; has the guest booted?`)
    }
  }
}

/** One hello. Throws `agent-silent` when the time for it is over. */
async function shakeHands(socket: Socket, options: ConnectOptions, main: StreamHandler): Promise<Line> {
  const nonce = randomBytes(NONCE)
  const handlers = new Map<number, StreamHandler>()
  const pending = new Map<number, Pending>()
  const step: Step = { marker: nonce }
  let held: Buffer = Buffer.alloc(0)
  let streams = 0
  let lostBecause: ZosError | undefined
  const shaken = Promise.withResolvers<AgentState>()
  const closed = Promise.withResolvers<string>()

  const fail = (error: ZosError) => {
    if (lostBecause) return
    lostBecause = error
    socket.destroy()
    shaken.reject(error)
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
    const all = [...handlers.values()]
    handlers.clear()
    for (const { lost } of all) lost(error)
    closed.resolve(error.message)
  }

  const onFrame = (type: number, stream: number, view: Uint8Array) => {
    const payload = Buffer.from(view.buffer, view.byteOffset, view.byteLength)
    if (type === Frame.helloAck) {
      if (!lostBecause) handlers.set(0, main)
      return shaken.resolve(decodeState(payload, NONCE))
    }
    if (type !== Frame.reply) return handlers.get(stream)?.handle(type, payload)
    const waiting = pending.get(stream)
    pending.delete(stream)
    try {
      const reply = decodeReply(payload)
      if ('ok' in reply) return waiting?.resolve(reply.ok as never)
      const { code, message, exitCode } = reply.error
      waiting?.reject(new ZosError(message, { code, details: exitCode === undefined ? {} : { exitCode } }))
    } catch (error) {
      waiting?.reject(error as Error)
      throw error
    }
  }

  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    try {
      const used = parseFrames(step, held, 0, held.length, onFrame, () => {
        throw gone('what it sent is no frame')
      })
      held = held.subarray(used)
    } catch (error) {
      fail(error instanceof ZosError ? error : gone(reasonOf(error), error))
    }
  })
  socket.on('error', (error) => fail(gone(reasonOf(error), error)))
  socket.on('close', () => fail(gone('the connection to the VM is closed')))

  const silent = new ZosError('Talk to the agent: no answer', { code: SILENT, kind: 'node' })
  const timer = setTimeout(() => fail(silent), options.timeout)
  const abort = () => fail(gone('given up by the caller'))
  options.signal?.addEventListener('abort', abort, { once: true })
  if (options.signal?.aborted) abort()
  // whatever an earlier host left half-said ends in zeros
  if (!options.fresh) socket.write(Buffer.alloc(FILLER))
  socket.write(helloFrame(nonce, options.resumeFrom ?? 0))
  let state: AgentState
  try {
    state = await shaken.promise
    if (state.version !== VERSION) {
      const error = gone(`it speaks version ${state.version}, we speak ${VERSION}; restart the workload`)
      fail(error)
      throw error
    }
  } catch (error) {
    options.signal?.removeEventListener('abort', abort)
    throw error
  } finally {
    clearTimeout(timer)
  }
  return {
    state,
    send: (frame) => void socket.write(frame),
    attach: (stream, handler) => {
      if (lostBecause) handler.lost(lostBecause)
      else handlers.set(stream, handler)
    },
    detach: (stream) => void handlers.delete(stream),
    newStream: () => ++streams,
    request(method, params, { stream = ++streams, timeout: ms, signal } = {}) {
      return new Promise((resolve, reject) => {
        if (lostBecause) {
          reject(lostBecause)
          return
        }
        const frame = encodeJson(Frame.request, stream, { method, params })
        if (frame.length > HEADER + MAX_PAYLOAD + TRAILER) {
          reject(tooLong(method, frame.length))
          return
        }
        const giveUp = (error: Error) => {
          pending.delete(stream)
          done()
          reject(error)
        }
        const late =
          ms === undefined
            ? undefined
            : setTimeout(() => giveUp(gone(`no answer to "${method}" within ${ms / 1000} s`)), ms)
        const aborted = () => {
          socket.write(encodeFrame(Frame.reset, stream, new Uint8Array(0)))
          giveUp(gone(`"${method}" was given up`))
        }
        const done = () => {
          clearTimeout(late)
          signal?.removeEventListener('abort', aborted)
        }
        pending.set(stream, {
          resolve: (value) => {
            done()
            resolve(value)
          },
          reject: (error) => {
            done()
            reject(error)
          },
        })
        signal?.addEventListener('abort', aborted, { once: true })
        if (signal?.aborted) aborted()
        else socket.write(frame)
      })
    },
    closed: closed.promise,
    async close() {
      options.signal?.removeEventListener('abort', abort)
      fail(gone('closed by the caller'))
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
    },
  }
}
