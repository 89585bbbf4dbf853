import { chmodSync, rmSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { ZosError } from '#codec'
import { http } from '#sys'
import { type Methods, rpcError } from './rpc.ts'

/** Bounds on what one caller may ask: bytes of a request, calls in a batch, requests at work, open connections. */
const BODY_LIMIT = 1 << 20
const BATCH_LIMIT = 50
const WORK_LIMIT = 64
const CONNECTION_LIMIT = 256
/** Bytes of answers that wait to be fetched, those below SMALL not counted: slow readers of much keep nobody from a little. */
const UNREAD_LIMIT = 32 << 20
const SMALL = 64 << 10
/** Milliseconds in which an answer is to be fetched whole. */
const UNREAD_TIME = 60_000

type Answer = { jsonrpc: '2.0'; id: unknown; result?: unknown; error?: unknown }

async function answer(methods: Methods, call: unknown): Promise<Answer> {
  const { id = null, method, params = [] } = (typeof call === 'object' && call ? call : {}) as Record<string, unknown>
  const fail = (code: number, message: string): Answer => ({ jsonrpc: '2.0', id, error: { code, message } })
  if (typeof method !== 'string' || !Array.isArray(params)) return fail(-32600, 'not a JSON-RPC request')
  if (!Object.hasOwn(methods, method)) return fail(-32601, `method "${method.slice(0, 64)}" is not served`)
  try {
    return { jsonrpc: '2.0', id, result: (await methods[method]!(params)) ?? null }
  } catch (error) {
    return { jsonrpc: '2.0', id, error: rpcError(error) }
  }
}

/** The body, or undefined when it is above the limit. Not by `for await`: leaving that early kills the connection. */
function read(req: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= BODY_LIMIT) chunks.push(chunk)
      else resolve(undefined)
    })
    req.on('end', () => resolve(Buffer.concat(chunks).toString()))
    req.on('error', reject)
    req.on('close', () => reject(new Error('closed')))
  })
}

/** A page in somebody's browser must not reach the chain: no Origin, and no Host but this machine's. */
function stranger(req: IncomingMessage): boolean {
  const host = (req.headers.host ?? 'localhost').replace(/:\d+$/, '')
  return req.headers.origin !== undefined || !['localhost', '127.0.0.1', 'unix'].includes(host)
}

/** Serves METHODS by JSON-RPC on a unix socket or on 127.0.0.1, never on an address others reach. */
export async function serveRpc(methods: Methods, at: { socket: string } | { port: number }): Promise<Server> {
  let working = 0
  let unread = 0
  const end = (res: ServerResponse, status: number, body: unknown): void => send(res, status, JSON.stringify(body))
  const send = (res: ServerResponse, status: number, body: string): void => {
    const text = Buffer.from(body)
    if (text.length > SMALL) {
      if (unread + text.length > UNREAD_LIMIT) {
        end(res, 503, refusal('too much is waiting to be read; try again, or ask for less'))
        return
      }
      unread += text.length
      const late = setTimeout(() => res.destroy(), UNREAD_TIME)
      res.once('close', () => {
        unread -= text.length
        clearTimeout(late)
      })
    }
    res.writeHead(status, { 'content-type': 'application/json', 'content-length': text.length }).end(text)
  }
  const refusal = (message: string) => ({ jsonrpc: '2.0', id: null, error: { code: -32600, message } })
  const handle = async (req: IncomingMessage, res: ServerResponse) => {
    if (req.method !== 'POST' || stranger(req)) return end(res, 403, refusal('POST from this machine only'))
    if (working >= WORK_LIMIT) return end(res, 503, refusal('too many requests; try again'))
    working++
    try {
      const text = await read(req)
      if (text === undefined) {
        res.on('finish', () => req.socket.destroy())
        return end(res, 413, refusal(`more than ${BODY_LIMIT} bytes`))
      }
      const body = JSON.parse(text) as unknown
      if (!Array.isArray(body)) return end(res, 200, await answer(methods, body))
      if (body.length > BATCH_LIMIT) return end(res, 400, refusal(`more than ${BATCH_LIMIT} calls in a batch`))
      const answers: string[] = []
      let size = 0
      for (const call of body) {
        // past the limit it will be refused as a whole
        if (size > UNREAD_LIMIT) break
        answers.push(JSON.stringify(await answer(methods, call)))
        size += answers.at(-1)!.length
      }
      send(res, 200, `[${answers.join()}]`)
    } catch {
      if (!res.headersSent) end(res, 400, { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'not JSON' } })
    } finally {
      working--
    }
  }
  // looked at every second: by default Node would end who does not finish only at the next half minute
  const times = { requestTimeout: 30_000, headersTimeout: 5_000, connectionsCheckingInterval: 1000 }
  const server = http().createServer(times, (req, res) => void handle(req, res))
  server.maxConnections = CONNECTION_LIMIT
  const where = 'socket' in at ? at.socket : `127.0.0.1:${at.port}`
  if ('socket' in at) rmSync(at.socket, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new ZosError(`Serve the chain on "${where}": ${cause.message}`, { code: 'listen-failed', kind: 'node', cause }),
      ),
    )
    if ('socket' in at) server.listen(at.socket, resolve)
    else server.listen(at.port, '127.0.0.1', resolve)
  })
  if ('socket' in at) chmodSync(at.socket, 0o600)
  return server
}
