import type { Duplex } from 'node:stream'
import { codeOf, reasonOf, ZosError } from '#codec'
import { Frame, type RunRequest, readFrames, writeFrame } from '#wire'
import type { Engine } from '../compute/engine.ts'
import { readOutput } from '../compute/output-log.ts'
import { frameSink } from '../compute/sinks.ts'
import type { ImageConfig } from '../compute/spec.ts'
import { start } from '../compute/start.ts'
import { signal } from '../compute/stop.ts'
import { agentOf, attach, logPath, waitExit } from '../compute/workload.ts'

/** Frames of one command, first the request, then whatever HANDLE is given later. */
type Session = { request: unknown; on: (handle: (type: number, payload: Buffer) => void) => void }

/** Frames that may wait for a handler before the command is held back. */
const EARLY_FRAMES = 16

function session(stream: Duplex): Promise<Session> {
  return new Promise((resolve, reject) => {
    let handle: ((type: number, payload: Buffer) => void) | undefined
    let begun = false
    // a command need not wait for us: what follows its request at once is kept until somebody listens
    const early: [number, Buffer][] = []
    stream.on('close', () => reject(new ZosError('Read request: the command went away', { code: 'client-gone' })))
    readFrames(stream, (type, payload) => {
      if (handle) return handle(type, payload)
      if (begun) {
        early.push([type, Buffer.from(payload)])
        if (early.length >= EARLY_FRAMES) stream.pause()
        return undefined
      }
      begun = true
      try {
        if (type !== Frame.request)
          throw new ZosError(`Read request: frame type ${type} came first`, { code: 'bad-frame' })
        resolve({
          request: JSON.parse(payload.toString()),
          on: (listener) => {
            handle = listener
            for (const [t, p] of early.splice(0)) listener(t, p)
            stream.resume()
          },
        })
      } catch (error) {
        reject(error)
      }
      return undefined
    })
  })
}

/** Serves one framed stream; what SERVE throws reaches the command as an error frame. */
export function framed(
  serve: (stream: Duplex, session: Session) => Promise<void>,
): (call: unknown, open: () => Duplex) => Promise<void> {
  return async (_call, open) => {
    const stream = open()
    stream.on('error', () => stream.destroy())
    try {
      await serve(stream, await session(stream))
      stream.end()
    } catch (error) {
      if (stream.destroyed) return
      const known = error instanceof ZosError
      writeFrame(stream, Frame.error, {
        code: codeOf(error) || 'bug',
        kind: known ? error.kind : 'bug',
        message: reasonOf(error),
        details: known ? error.details : {},
      })
      stream.end()
    }
  }
}

type Resolve = (image: string) => Promise<{ digest: string; config: ImageConfig }>

/** `zos run`: creates, starts and, unless detached, stays attached until the end. */
export const runStream = (engine: Engine, resolve: Resolve) =>
  framed(async (stream, { request: asked, on }) => {
    const request = asked as RunRequest
    const image = await resolve(request.image)
    const workload = await engine.create(request, image)
    const note = (line: string) => void (stream.destroyed || writeFrame(stream, Frame.note, line))
    const detach = request.detach ? () => {} : attach(workload, frameSink(stream))
    try {
      await start(workload, note)
    } catch (error) {
      // as with Docker, a named workload that could not start stays for a look; one nobody can find again does not
      if (request.remove || request.name === undefined) await engine.remove(workload.spec.id, true)
      throw error
    }
    writeFrame(stream, Frame.started, { id: workload.spec.id })
    if (request.detach) return void writeFrame(stream, Frame.exit, { code: 0 })
    const guest = agentOf(workload)
    on((type, payload) => {
      if (type === Frame.stdin) {
        if (!guest.stdin.write(Buffer.from(payload))) {
          stream.pause()
          guest.stdin.once('drain', () => stream.resume())
        }
      } else if (type === Frame.stdinEnd) guest.stdin.end()
      else if (type === Frame.signal)
        void signal(workload, (JSON.parse(payload.toString()) as { signal: string }).signal).catch(() => {})
      else if (type === Frame.resize) void guest.resize(windowOf(payload)).catch(() => {})
    })
    guest.stdin.on('error', () => {})
    stream.on('close', () => guest.stdin.end())
    const status = await waitExit(workload)
    detach()
    writeFrame(stream, Frame.exit, { code: status.exitCode })
    if (request.remove) await engine.remove(workload.spec.id, true)
  })

const windowOf = (payload: Buffer) => JSON.parse(payload.toString()) as { rows: number; columns: number }

type ExecRequest = {
  argv: string[]
  env: string[]
  cwd?: string
  user?: string
  stdin: boolean
  detach: boolean
  tty: { rows: number; columns: number } | null
}

/** `zos exec`. */
export const execStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request: asked, on }) => {
    const request = asked as ExecRequest
    const workload = engine.find(ref)
    const { spec } = workload
    const running = await agentOf(workload).exec({
      argv: request.argv,
      env: [...spec.env, ...request.env],
      cwd: request.cwd ?? spec.cwd,
      user: request.user ?? spec.user,
      tty: request.tty,
      stdin: request.stdin,
    })
    writeFrame(stream, Frame.started, { id: spec.id })
    running.stdin.on('error', () => {})
    if (request.detach) {
      running.stdout.resume()
      running.stderr.resume()
      return void writeFrame(stream, Frame.exit, { code: 0 })
    }
    on((type, payload) => {
      if (type === Frame.stdin) {
        if (!running.stdin.write(Buffer.from(payload))) {
          stream.pause()
          running.stdin.once('drain', () => stream.resume())
        }
      } else if (type === Frame.stdinEnd) running.stdin.end()
      else if (type === Frame.signal)
        void running.signal((JSON.parse(payload.toString()) as { signal: string }).signal).catch(() => {})
      else if (type === Frame.resize) void running.resize(windowOf(payload)).catch(() => {})
    })
    stream.on('close', () => running.stdin.end())
    const sink = frameSink(stream)
    const carry = async (from: AsyncIterable<Buffer>, channel: 'stdout' | 'stderr') => {
      for await (const data of from) await sink(channel, data)
    }
    const [exit] = await Promise.all([running.exit, carry(running.stdout, 'stdout'), carry(running.stderr, 'stderr')])
    writeFrame(stream, Frame.exit, { code: exit.code })
  })

/** `since` and `until`: Unix milliseconds. */
type LogsRequest = { follow: boolean; timestamps: boolean; tail?: number; since?: number; until?: number }

/** `zos logs`: what was written, then, with follow, what comes until the workload ends. */
export const logsStream = (engine: Engine, ref: string) =>
  framed(async (stream, { request: asked }) => {
    const request = asked as LogsRequest
    const workload = engine.find(ref)
    const path = logPath(workload)
    const sink = frameSink(stream)
    const stamp = (time: number, bytes: Buffer) =>
      request.timestamps ? Buffer.concat([Buffer.from(`${new Date(time).toISOString()} `), bytes]) : bytes
    let sent = request.tail === undefined ? 0 : tailStart(path, request.tail)
    const catchUp = async () => {
      for (const record of readOutput(path)) {
        const skip = sent - record.offset
        if (skip >= record.bytes.length) continue
        const bytes = skip > 0 ? record.bytes.subarray(skip) : record.bytes
        sent = record.offset + record.bytes.length
        if (record.time < (request.since ?? 0) || record.time > (request.until ?? Number.POSITIVE_INFINITY)) continue
        if (stream.destroyed) return
        await sink(record.stream === 2 ? 'stderr' : 'stdout', stamp(record.time, bytes))
      }
    }
    await catchUp()
    if (request.follow && (workload.status.state === 'running' || workload.status.state === 'paused')) {
      let wake = () => {}
      const detach = attach(workload, () => wake())
      const gone = new Promise<void>((resolve) => stream.on('close', resolve))
      const ended = waitExit(workload).then(() => true as const)
      for (let over = false; !over && !stream.destroyed; ) {
        const news = new Promise<void>((resolve) => {
          wake = resolve
        })
        await catchUp()
        over = (await Promise.race([news, gone, ended])) === true
      }
      detach()
      await catchUp()
    }
    writeFrame(stream, Frame.exit, { code: 0 })
  })

/** Offset at which the last LINES lines begin. */
function tailStart(path: string, lines: number): number {
  const starts: number[] = []
  let end = 0
  let atStart = true
  for (const { offset, bytes } of readOutput(path)) {
    end = offset + bytes.length
    for (let i = 0; i < bytes.length; i++) {
      if (atStart) {
        starts.push(offset + i)
        if (starts.length > lines) starts.shift()
      }
      atStart = bytes[i] === 10
    }
  }
  return lines === 0 ? end : (starts[0] ?? 0)
}
