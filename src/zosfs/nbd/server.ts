import { chmodSync, chownSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { ZosError } from '#codec'
import type { Disk } from '../disk/disk.ts'
import { BLOCK } from '../types.ts'
import { budget } from './budget.ts'
import { handshake } from './handshake.ts'
import { taker } from './taker.ts'
import { type Served, transmit } from './transmission.ts'

export type ExportOptions = {
  name: string
  socket: string
  /** Bytes the client sees whatever is bound: templates are made before the content is known. Default 1 TiB. */
  size?: number
  /** Owner of the socket, which only it may open. */
  uid?: number
  gid?: number
  onError?: (error: unknown) => void
}

export type NbdExport = {
  /** What it serves from now on; reads that came earlier are answered then. Throws `disk-too-large`. */
  bind(disk: Disk): void
  /** Hears of each extent that is read, from bind on; undefined ends it. */
  onTouch(hear: ((extent: number) => void) | undefined): void
  stat(): { connections: number; requests: number; bytes: number; errors: number }
  [Symbol.asyncDispose](): Promise<void>
}

const DEFAULT_SIZE = 2 ** 40
/** Bytes of replies being made per export: QEMU has at most 16 requests in flight, of 1 MiB as a rule. */
const PENDING_LIMIT = 32 << 20
const CONNECTIONS = 16
const HANDSHAKE_MS = 30_000

/** Serves one read-only NBD export on a unix socket of its own. */
export async function serveNbd(options: ExportOptions): Promise<NbdExport> {
  const size = options.size ?? DEFAULT_SIZE
  const sockets = new Set<Socket>()
  const count = { requests: 0, bytes: 0, errors: 0 }
  let disk: Disk | undefined
  let hear: ((extent: number) => void) | undefined
  const bound = Promise.withResolvers<Disk>()
  bound.promise.catch(() => {}) // nobody may be waiting when it is closed

  const served: Served = {
    size,
    disk: () => disk ?? bound.promise,
    budget: budget(PENDING_LIMIT),
    onError: options.onError ?? (() => {}),
    touched: (extent) => hear?.(extent),
    count,
  }

  const serve = async (socket: Socket) => {
    const deadline = setTimeout(() => socket.destroy(), HANDSHAKE_MS)
    try {
      const { take, rest } = taker(socket)
      const wire = { take, send: (bytes: Buffer) => void socket.write(bytes) }
      const agreed = await handshake(wire, options.name, size)
      if (agreed) transmit(socket, rest(), agreed, served)
      else socket.end()
    } catch {
      socket.destroy()
    } finally {
      clearTimeout(deadline)
    }
  }

  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    if (sockets.size >= CONNECTIONS) return void socket.destroy()
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serve(socket)
  })
  rmSync(options.socket, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new ZosError(`Serve "${options.name}" on "${options.socket}": ${cause.message}`, {
          code: 'listen-failed',
          kind: 'node',
          cause,
        }),
      ),
    )
    server.listen(options.socket, resolve)
  })
  chmodSync(options.socket, 0o600)
  if (options.uid !== undefined) chownSync(options.socket, options.uid, options.gid ?? options.uid)

  return {
    bind(next) {
      if (next.blocks * BLOCK > size) {
        throw new ZosError(
          `Serve "${options.name}": its disk has ${next.blocks * BLOCK} bytes, the export ${size}; publish less in one image`,
          { code: 'disk-too-large' },
        )
      }
      disk = next
      bound.resolve(next)
    },
    onTouch(listener) {
      hear = listener
    },
    stat: () => ({ connections: sockets.size, ...count }),
    async [Symbol.asyncDispose]() {
      bound.reject(
        new ZosError(`Read "${options.name}": the export is closed`, { code: 'export-closed', kind: 'node' }),
      )
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
