import { chmodSync, lstatSync, rmSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { codeOf, reasonOf, ZosError } from '#codec'
import { http } from './node-http.ts'

export type Call = {
  params: Record<string, string>
  query: URLSearchParams
  /** The JSON body; undefined when there is none. */
  body: unknown
  request: IncomingMessage
}

/**
 * Answers with JSON, 200; undefined is 204; after `answerAs` the status is that one. A ZosError becomes 4xx/5xx with {error: {code,
 * kind, message, details}}.
 */
export type Handler = (call: Call & { answerAs: (code: number) => void }) => unknown | Promise<unknown>
/** Answers by taking the connection over as a byte stream, after `101 Switching Protocols`. */
export type UpgradeHandler = (call: Call, open: () => Duplex) => void | Promise<void>

/** Keys are "METHOD /path/:param". */
export type Routes = { calls?: Record<string, Handler>; upgrades?: Record<string, UpgradeHandler> }

/** What is not there, or there already, has a status of its own: programs written for others ask by it. */
const STATUS: Record<string, number> = { 'not-found': 404, 'no-such-call': 404, exists: 409 }

const BODY_LIMIT = 16 << 20

type Found<T> = { handler: T; params: Record<string, string> }

function match<T>(table: Record<string, T> | undefined, method: string, path: string): Found<T> | undefined {
  const parts = path.split('/')
  for (const [key, handler] of Object.entries(table ?? {})) {
    const [m, pattern] = key.split(' ') as [string, string]
    const wanted = pattern.split('/')
    if (m !== method || wanted.length !== parts.length) continue
    const params: Record<string, string> = {}
    const fits = wanted.every((w, n) => {
      if (!w.startsWith(':')) return w === parts[n]
      params[w.slice(1)] = decoded(parts[n]!)
      return parts[n] !== ''
    })
    if (fits) return { handler, params }
  }
  return undefined
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (cause) {
    throw new ZosError(`Read request: "${part}" in its path is not percent-encoded UTF-8`, { code: 'bad-path', cause })
  }
}

async function readJson(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > BODY_LIMIT)
      throw new ZosError(`Read request: body above ${BODY_LIMIT} bytes`, { code: 'body-too-large' })
    chunks.push(chunk)
  }
  if (size === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (cause) {
    throw new ZosError(`Read request: body is not JSON: ${reasonOf(cause)}`, { code: 'bad-json', cause })
  }
}

function errorBody(error: unknown): { status: number; body: string } {
  const known = error instanceof ZosError
  const kind = known ? error.kind : 'bug'
  const status = kind === 'user' ? (STATUS[codeOf(error)] ?? 400) : 500
  return {
    status,
    body: JSON.stringify({
      error: { code: codeOf(error) || 'bug', kind, message: reasonOf(error), details: known ? error.details : {} },
    }),
  }
}

/** With a length: the thin client of the command line reads no chunked encoding. */
function answer(res: ServerResponse, status: number, body: string): void {
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
}

/**
 * Serves ROUTES on a unix socket at PATH (mode 0600), replacing a stale one. ROUTES may be still to come: what is asked
 * meanwhile waits for them, but for EARLY's.
 */
export async function serveUnix(path: string, routes: Routes | Promise<Routes>, early: Routes = {}): Promise<Server> {
  const server = http().createServer({ requestTimeout: 0, keepAliveTimeout: 0 }, async (req, res) => {
    try {
      const url = new URL(req.url ?? '/', 'http://unix')
      const find = ({ calls }: Routes) => match(calls, req.method ?? 'GET', url.pathname)
      const found = find(early) ?? find(await routes)
      if (!found) throw new ZosError(`${req.method} ${url.pathname}: no such call`, { code: 'no-such-call' })
      const body = await readJson(req)
      let status: number | undefined
      const answerAs = (code: number): void => {
        status = code
      }
      const asked = { params: found.params, query: url.searchParams, body, request: req, answerAs }
      const value = await found.handler(asked)
      if (value === undefined) res.writeHead(status ?? 204).end()
      else answer(res, status ?? 200, JSON.stringify(value))
    } catch (error) {
      const { status, body } = errorBody(error)
      answer(res, status, body)
    }
  })
  server.on('upgrade', (req, socket, head) => {
    socket.on('error', () => socket.destroy())
    let opened = false
    const refuse = (error: unknown) => {
      // from there on the bytes are the stream's own
      if (opened) return void socket.destroy()
      const { status, body } = errorBody(error)
      socket.end(
        `HTTP/1.1 ${status} Refused\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      )
    }
    const open = () => {
      opened = true
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: zos\r\n\r\n')
      if (head.length) socket.unshift(head)
      return socket
    }
    const serve = async () => {
      const url = new URL(req.url ?? '/', 'http://unix')
      const found = match((await routes).upgrades, req.method ?? 'GET', url.pathname)
      if (!found) throw new ZosError(`${req.method} ${url.pathname}: no such stream`, { code: 'no-such-call' })
      // the options of a stream travel in a header, so that the body is the stream from its first byte
      const body: unknown = JSON.parse(
        Buffer.from(String(req.headers['x-zos-body'] ?? 'bnVsbA=='), 'base64').toString(),
      )
      await found.handler({ params: found.params, query: url.searchParams, body, request: req }, open)
    }
    serve().catch(refuse)
  })
  removeStale(path)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ZosError(`Listen on "${path}": ${cause.message}`, { code: 'listen-failed', kind: 'node', cause })),
    )
    server.listen(path, () => resolve())
  })
  chmodSync(path, 0o600)
  return server
}

/** A socket was left by a program that has ended; anything else of that name is somebody's. */
function removeStale(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false })
  if (there && !there.isSocket())
    throw new ZosError(`Listen on "${path}": what is there is no socket; give another path, or remove it first`, {
      code: 'listen-failed',
    })
  rmSync(path, { force: true })
}
