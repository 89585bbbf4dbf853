import { once } from 'node:events'
import { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { codeOf, reasonOf, ZosError } from '#codec'
import { connectUnix, errnoMessage, sendWithFd, sleep } from '#sys'

export type QmpEvent = { event: string; data: Record<string, unknown> }

/** A line of QMP above this is no answer of a sane QEMU. */
const LINE_LIMIT = 4 << 20

type Waiter = { resolve: (value: unknown) => void; reject: (error: Error) => void }

/** One connection to a QEMU's control socket. QEMU serves one client at a time; a later daemon connects anew. */
export class Qmp {
  readonly #socket: Socket
  /** The socket's descriptor, for what Node's own write cannot carry. */
  readonly #fd: number
  readonly #waiters = new Map<number, Waiter>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  readonly #closed: Promise<void>
  #next = 1
  #partial = ''
  #greeted: (() => void) | undefined

  /** FD: a connected unix socket, owned by this from now on. */
  constructor(fd: number) {
    const socket = new Socket({ fd, readable: true, writable: true })
    this.#socket = socket
    this.#fd = fd
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#closed = promise
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => this.#take(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const { reject } of this.#waiters.values()) {
        reject(new ZosError('Ask QEMU: it closed its control socket', { code: 'qemu-gone', kind: 'node' }))
      }
      this.#waiters.clear()
      resolve()
    })
  }

  /** Resolves when the connection has ended: QEMU is gone, or we closed it. */
  get closed(): Promise<void> {
    return this.#closed
  }

  #take(chunk: string): void {
    const lines = (this.#partial + chunk).split('\n')
    this.#partial = lines.pop()!
    if (this.#partial.length > LINE_LIMIT) this.#socket.destroy()
    for (const line of lines) {
      if (line.trim() === '') continue
      let message: Record<string, unknown>
      try {
        message = JSON.parse(line) as Record<string, unknown>
      } catch {
        this.#socket.destroy()
        return
      }
      this.#handle(message)
    }
  }

  #handle(message: Record<string, unknown>): void {
    if ('QMP' in message) {
      this.#greeted?.()
      return
    }
    if (typeof message.event === 'string') {
      const event = { event: message.event, data: (message.data ?? {}) as Record<string, unknown> }
      for (const listener of this.#listeners) listener(event)
      return
    }
    const waiter = this.#waiters.get(message.id as number)
    if (!waiter) return
    this.#waiters.delete(message.id as number)
    if ('return' in message) waiter.resolve(message.return)
    else {
      const { desc } = (message.error ?? {}) as { desc?: string }
      waiter.reject(new ZosError(`Ask QEMU: ${desc ?? 'it refused'}`, { code: 'qemu-refused', kind: 'node' }))
    }
  }

  /** Leaves the capability handshake; without it QEMU answers nothing. */
  async greet(ms: number): Promise<void> {
    const greeting = new Promise<void>((resolve) => {
      this.#greeted = resolve
    })
    await withDeadline(greeting, ms, 'greeting', () => this.#socket.destroy())
    await this.ask('qmp_capabilities', {}, { timeout: ms })
  }

  /** Runs one command. Throws `qemu-refused`, `qemu-gone` or `deadline` (default 10 s). */
  ask<T = unknown>(
    command: string,
    args: Record<string, unknown> = {},
    options: { timeout?: number } = {},
  ): Promise<T> {
    return this.#send(command, args, options.timeout ?? 10_000, (line) => this.#socket.write(line))
  }

  /** Gives QEMU a copy of the open file FD: the number N of what it then knows as the file /dev/fdset/N. Throws as ask(). */
  async giveFile(fd: number): Promise<number> {
    // the descriptor travels with its command, behind all that was said before
    while (this.#socket.writableLength > 0 && !this.#socket.destroyed)
      await Promise.race([once(this.#socket, 'drain'), this.#closed])
    const send = (line: string) => sendWithFd(this.#fd, Buffer.from(line), fd)
    const { 'fdset-id': set } = await this.#send<{ 'fdset-id': number }>('add-fd', {}, 10_000, send)
    return set
  }

  #send<T>(command: string, args: Record<string, unknown>, ms: number, write: (line: string) => void): Promise<T> {
    const id = this.#next++
    const answer = new Promise<unknown>((resolve, reject) => {
      if (this.#socket.destroyed)
        return reject(new ZosError('Ask QEMU: its control socket is closed', { code: 'qemu-gone', kind: 'node' }))
      this.#waiters.set(id, { resolve, reject })
      write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
    })
    return withDeadline(answer, ms, command, () => this.#waiters.delete(id)) as Promise<T>
  }

  /** Calls LISTENER for every event; the returned function ends that. */
  listen(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A quiet client must not keep the process alive. */
  unref(): void {
    this.#socket.unref()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    await this.#closed
  }
}

async function withDeadline<T>(work: Promise<T>, ms: number, what: string, late: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late()
      reject(new ZosError(`Ask QEMU "${what}": no answer within ${ms / 1000} s`, { code: 'deadline', kind: 'node' }))
    }, ms)
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
  }
}

function dial(path: string): Qmp {
  const fd = connectUnix(path)
  if (fd >= 0) return new Qmp(fd)
  throw Object.assign(new Error(`connect: ${errnoMessage(fd)}`), { code: getSystemErrorName(fd) })
}

/** Of a socket nobody listens on yet, or on which an earlier daemon's connection is still being closed. */
const NOT_YET = ['ENOENT', 'ECONNREFUSED', 'EAGAIN']

/** Connects to the control socket at PATH, which a QEMU that is starting makes after some 20 ms; waits up to MS. */
export async function connectQmp(path: string, ms = 10_000, gone: () => boolean = () => false): Promise<Qmp> {
  const end = performance.now() + ms
  for (;;) {
    try {
      const qmp = dial(path)
      await qmp.greet(Math.max(100, end - performance.now()))
      return qmp
    } catch (error) {
      if (!NOT_YET.includes(codeOf(error)) || gone() || performance.now() > end) {
        throw new ZosError(`Reach QEMU at "${path}": ${reasonOf(error)}`, {
          code: 'qemu-gone',
          kind: 'node',
          cause: error,
        })
      }
      await sleep(2)
    }
  }
}
