import type { Socket } from 'node:net'
import { ZosError } from '#codec'
import { Frame, readFrames, revive, writeFrame } from '#wire'
import { keyWatch } from './detach-keys.ts'

export type AttachOptions = {
  /** Pass standard input on. */
  input: boolean
  tty: boolean
  /** Signals are the program's; left out, they end this command. */
  signals?: true
  /** Typed on a terminal one after the other, they end this command alone. */
  detachKeys?: Buffer
  started?: (id: string) => void
}

/** Signals a terminal or supervisor sends us that belong to the workload. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const

/** After so many interrupts the person wants to leave, even if the program ignores them. As with Docker. */
const ENOUGH = 3

/** Exit code of a command whose terminal went away: 128 + SIGHUP. */
const GONE = 129

/** Refuses to make a terminal of what is typed into none, as Docker does: the program would read echoes and control characters. */
export function checkTerminal(command: string, asked: { interactive: boolean; tty: boolean; detach: boolean }): void {
  if (!asked.interactive || !asked.tty || asked.detach || process.stdin.isTTY) return
  throw new ZosError(`zos ${command}: the input device is not a TTY; leave out -t to pass standard input on as it is`, {
    code: 'no-terminal',
    details: { exitCode: 1 },
  })
}

/** Sends REQUEST, then carries the streams until the daemon says how it ended; gives the exit code. */
export function attach(socket: Socket, request: unknown, options: AttachOptions): Promise<number> {
  const raw = options.tty && options.input && process.stdin.isTTY
  const stop: (() => void)[] = []
  return new Promise<number>((resolve, reject) => {
    let over = false
    let id = ''
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
        id = (JSON.parse(payload.toString()) as { id: string }).id
        options.started?.(id)
        const leave = (byKeys: boolean) =>
          done(() => {
            if (byKeys) process.stderr.write(`\r\nzos: left ${id.slice(0, 12)} running\r\n`)
            resolve(byKeys ? 0 : GONE)
          })
        // not before: a refused request must leave standard input unread, it may be tried again
        if (options.input) passInput(socket, raw ? { keys: options.detachKeys ?? Buffer.of(), leave } : undefined)
      } else if (type === Frame.exit) done(() => resolve((JSON.parse(payload.toString()) as { code: number }).code))
      else if (type === Frame.error) done(() => reject(revive(JSON.parse(payload.toString()))))
    })
    socket.on('error', (cause) => done(() => reject(lost(cause))))
    socket.on('close', () => done(() => reject(lost())))
    writeFrame(socket, Frame.request, request as object)
    let interrupts = 0
    for (const signal of options.signals ? FORWARDED : []) {
      const forward = () => {
        writeFrame(socket, Frame.signal, { signal })
        if ((signal !== 'SIGINT' && signal !== 'SIGTERM') || ++interrupts < ENOUGH) return
        const what = id === '' ? '' : `; "zos kill ${id.slice(0, 12)}" ends it`
        process.stderr.write(`zos: interrupted ${ENOUGH} times: leaving, what runs there goes on${what}\n`)
        done(() => resolve(signal === 'SIGINT' ? 130 : 143))
      }
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

function passInput(socket: Socket, terminal?: { keys: Buffer; leave: (byKeys: boolean) => void }): void {
  const watch = terminal && keyWatch(terminal.keys)
  process.stdin.on('data', (typed: Buffer) => {
    const { pass, left } = watch?.(typed) ?? { pass: typed, left: false }
    if (pass.length > 0 && !writeFrame(socket, Frame.stdin, pass)) {
      process.stdin.pause()
      socket.once('drain', () => process.stdin.resume())
    }
    if (left) terminal?.leave(true)
  })
  // a terminal has no end but its own: the program's input stays open for who attaches next
  const end = () => (terminal ? terminal.leave(false) : void writeFrame(socket, Frame.stdinEnd))
  process.stdin.on('end', end)
  process.stdin.on('error', end)
}
