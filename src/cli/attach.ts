import type { Socket } from 'node:net'
import { ZosError } from '#codec'
import { Frame, readFrames, revive, writeFrame } from '#wire'

export type AttachOptions = {
  /** Pass standard input on. */
  input: boolean
  tty: boolean
  started?: (id: string) => void
}

/** Signals a terminal or supervisor sends us that belong to the workload. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

/** Sends REQUEST, then carries the streams until the daemon says how it ended; gives the exit code. */
export function attach(socket: Socket, request: unknown, options: AttachOptions): Promise<number> {
  const raw = options.tty && options.input && process.stdin.isTTY
  const stop: (() => void)[] = []
  return new Promise<number>((resolve, reject) => {
    let over = false
    const done = (finish: () => void) => {
      if (over) return
      over = true
      socket.destroy()
      finish()
    }
    const deliver = (out: NodeJS.WriteStream, bytes: Buffer) => {
      if (!out.write(bytes)) {
        socket.pause()
        out.once('drain', () => socket.resume())
      }
    }
    readFrames(socket, (type, payload) => {
      if (type === Frame.stdout) deliver(process.stdout, payload)
      else if (type === Frame.stderr) deliver(process.stderr, payload)
      else if (type === Frame.note) process.stderr.write(`zos: ${payload}\n`)
      else if (type === Frame.started) {
        options.started?.((JSON.parse(payload.toString()) as { id: string }).id)
        // not before: a refused request must leave standard input unread, it may be tried again
        if (options.input) passInput(socket)
      } else if (type === Frame.exit) done(() => resolve((JSON.parse(payload.toString()) as { code: number }).code))
      else if (type === Frame.error) done(() => reject(revive(JSON.parse(payload.toString()))))
    })
    socket.on('error', (cause) => done(() => reject(lost(cause))))
    socket.on('close', () => done(() => reject(lost())))
    writeFrame(socket, Frame.request, request as object)
    for (const signal of FORWARDED) {
      const forward = () => writeFrame(socket, Frame.signal, { signal })
      process.on(signal, forward)
      stop.push(() => process.off(signal, forward))
    }
    if (raw) {
      process.stdin.setRawMode(true)
      stop.push(() => process.stdin.setRawMode(false))
      const resized = () =>
        writeFrame(socket, Frame.resize, { rows: process.stdout.rows, columns: process.stdout.columns })
      process.stdout.on('resize', resized)
      stop.push(() => process.stdout.off('resize', resized))
    }
  }).finally(() => {
    for (const undo of stop) undo()
    if (options.input) process.stdin.destroy()
  })
}

function lost(cause?: Error): ZosError {
  return new ZosError('Follow the workload: the node daemon went away; "zos ps -a" says whether it still runs', {
    code: 'daemon-lost',
    kind: 'node',
    cause,
  })
}

function passInput(socket: Socket): void {
  process.stdin.on('data', (chunk: Buffer) => {
    if (!writeFrame(socket, Frame.stdin, chunk)) {
      process.stdin.pause()
      socket.once('drain', () => process.stdin.resume())
    }
  })
  process.stdin.on('end', () => writeFrame(socket, Frame.stdinEnd))
  process.stdin.on('error', () => writeFrame(socket, Frame.stdinEnd))
}
