import type { Socket } from 'node:net'
import { codeOf, reasonOf } from '#codec'
import { type Disk, newReader, type Piece } from '../disk/disk.ts'
import type { Budget } from './budget.ts'
import type { Agreed } from './handshake.ts'
import { CMD, CMD_FLAG_DF, CMD_FLAG_REQ_ONE, ERROR, MAX_REQUEST } from './protocol.ts'
import { doneReply, errorReply, simpleData, simpleReply, statusReply, structuredData } from './reply.ts'
import { type Request, requestParser } from './request.ts'

export type Served = {
  size: number
  /** What it serves: at once when bound, else when it will be. */
  disk(): Disk | Promise<Disk>
  budget: Budget
  /** A read that became an I/O error. */
  onError(error: unknown): void
  /** Called with the number of each extent a read touches. */
  touched(extent: number): void
  count: { requests: number; bytes: number; errors: number }
}

/** A reply is at most this many descriptors, so that a long question about a ragged disk stays small. */
const MAX_RUNS = 4096
const CACHE_LIMIT = 32 << 20

/**
 * Answers requests on SOCKET until it ends, the first of which are in FIRST; each as soon as its data is there, in
 * whatever order.
 */
export function transmit(socket: Socket, first: Buffer, agreed: Agreed, served: Served): void {
  if (socket.destroyed) return
  const { structured, allocation } = agreed
  const { budget, count } = served
  const gone = new AbortController()
  const reader = { ...newReader(), touched: served.touched }
  const room = budget.onRoom(() => go())

  const send = (...parts: Buffer[]) => {
    if (socket.destroyed) return
    socket.cork()
    for (const part of parts) socket.write(part)
    socket.uncork()
  }
  const fail = ({ cookie }: Request, error: number, message: string) => {
    count.errors++
    send(structured ? errorReply(cookie, error, message) : simpleReply(cookie, error))
  }
  const succeed = ({ cookie }: Request) => send(structured ? doneReply(cookie) : simpleReply(cookie, 0))

  const failRead = (request: Request, error: unknown) => {
    if (gone.signal.aborted) return
    served.onError(error)
    fail(request, codeOf(error) === 'export-closed' ? ERROR.ESHUTDOWN : ERROR.EIO, reasonOf(error))
  }
  const sendPieces = ({ cookie, offset, flags }: Request, pieces: readonly Piece[]) =>
    send(
      ...(structured
        ? structuredData(cookie, offset, pieces, (flags & CMD_FLAG_DF) !== 0)
        : simpleData(cookie, pieces)),
    )

  /** Pieces at once when all is in memory and bound, which is the fast way; else when they are there. */
  const piecesOf = ({ offset, length }: Request): Piece[] | Promise<Piece[]> => {
    const options = { reader, signal: gone.signal }
    const disk = served.disk()
    return disk instanceof Promise
      ? disk.then((bound) => bound.read(offset, length, options))
      : disk.read(offset, length, options)
  }
  const later = async (request: Request, pieces: Promise<Piece[]>) => {
    budget.take(request.length)
    try {
      sendPieces(request, await pieces)
    } catch (error) {
      failRead(request, error)
    }
    budget.give(request.length)
    go()
  }
  const read = (request: Request) => {
    count.bytes += request.length
    try {
      const pieces = piecesOf(request)
      if (Array.isArray(pieces)) sendPieces(request, pieces)
      else later(request, pieces)
    } catch (error) {
      failRead(request, error)
    }
  }

  const status = async (request: Request) => {
    try {
      const disk = await served.disk()
      const runs = disk.runs(request.offset, request.length)
      send(statusReply(request.cookie, runs.slice(0, request.flags & CMD_FLAG_REQ_ONE ? 1 : MAX_RUNS)))
    } catch (error) {
      failRead(request, error)
    }
  }

  const handle = (request: Request) => {
    count.requests++
    const { type, offset, length } = request
    if (type === CMD.DISC) return void socket.end()
    if (type === CMD.WRITE || type === CMD.TRIM || type === CMD.WRITE_ZEROES) {
      return fail(request, ERROR.EPERM, 'The export is read-only')
    }
    if (type !== CMD.READ && type !== CMD.CACHE && !(type === CMD.BLOCK_STATUS && allocation)) {
      return fail(request, ERROR.EINVAL, `Command ${type} is not supported`)
    }
    if (length === 0 || offset + length > served.size) {
      return fail(request, ERROR.EINVAL, `${length} bytes at ${offset} are not within ${served.size}`)
    }
    if (type === CMD.BLOCK_STATUS) return void status(request)
    if (type === CMD.CACHE) {
      const disk = served.disk()
      // a hint: what it loads is dropped here, a failure is found by the read that follows
      if (!(disk instanceof Promise)) {
        const warmed = disk.read(offset, Math.min(length, CACHE_LIMIT), { reader: newReader(), signal: gone.signal })
        if (!Array.isArray(warmed)) warmed.catch(() => {})
      }
      return succeed(request)
    }
    if (length > MAX_REQUEST) return fail(request, ERROR.EINVAL, `Reads are of at most ${MAX_REQUEST} bytes`)
    read(request)
  }

  // replies that the client does not fetch stay in the socket's queue: they count like those still being made
  const ready = () => budget.free() && socket.writableLength < MAX_REQUEST && !socket.writableEnded
  const parser = requestParser(ready, handle)
  const step = (advance: () => void) => {
    if (socket.destroyed) return
    socket.cork()
    try {
      advance()
    } catch {
      socket.destroy() // garbage ends this connection only
    }
    socket.uncork()
    if (ready()) socket.resume()
    else socket.pause()
  }
  const go = () => step(parser.more)
  socket.on('data', (bytes: Buffer) => step(() => parser.push(bytes)))
  socket.on('drain', go)
  step(() => parser.push(first))
  socket.on('close', () => {
    room()
    gone.abort()
  })
}
