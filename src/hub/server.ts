import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import { http } from '#sys'
import { openAccess, type Policy } from './access.ts'
import { openAskers } from './asker.ts'
import { busy } from './body.ts'
import { openGroups } from './groups.ts'
import { openMetrics } from './metrics.ts'
import { byContent, type Check } from './objects.ts'
import { openPlace } from './place.ts'
import { type Reply, routesOf } from './routes.ts'
import { openUploading } from './uploading.ts'

export type HubOptions = {
  /** A folder, or a bucket: `s3:http(s)://HOST/BUCKET[/PREFIX]`. */
  at: string
  /** 0 takes a free one. */
  port: number
  /** Who may upload, and how much; without one everybody who reaches the port. */
  policy?: Policy | undefined
  /** A grid's file (`zos grid export`), which may come to be there later: whose groups may keep things to themselves here. */
  grid?: string | undefined
  /** Milliseconds for which the chain's word on who may read counts without asking again. */
  fresh?: number
  /** Addresses by which it is known besides its own on this machine, as its grid's file has them. */
  names?: readonly string[]
  /** What an upload must satisfy; by default that its bytes are those its id names. */
  check?: Check
  /** Whether DELETE is served; a hub of others' content does not. */
  deletes?: boolean
  /** Milliseconds of silence after which an upload has ended. */
  quiet?: number
  /** Milliseconds for which a client may leave an answer where it is. Default: a minute. */
  unread?: number
}

/** Connections and requests at a time, and bytes of bodies held: what is above waits outside or is told to come again. */
const CONNECTIONS = 256
const REQUESTS = 64
const BODY_BYTES = 384 << 20
/** Nothing of an answer is fetched for this long, and its connection is ended. Milliseconds. */
const UNREAD = 60_000
/** Ten seconds for a request's head, five minutes for all of it, looked at every second. */
const TIMES = { requestTimeout: 300_000, headersTimeout: 10_000, connectionsCheckingInterval: 1000 }

/** Serves a hub over HTTP on 127.0.0.1. Uploads are checked by content, so nobody can change what is there. */
export async function serveHub(options: HubOptions): Promise<Server> {
  const place = await openPlace(options.at)
  const groups = options.grid === undefined ? undefined : openGroups(options.grid, options.fresh)
  const names = [...(options.names ?? [])]
  const askers = openAskers(names, groups)
  const access = await openAccess(place.named, options.policy, { askers, groups })
  const metrics = openMetrics()
  const { check = byContent, deletes = false } = options
  const uploading = openUploading(place.objects, options.quiet)
  const routes = routesOf({ place, access, askers, metrics, budget: { left: BODY_BYTES }, check, deletes, uploading })
  let working = 0

  const serve = async (req: IncomingMessage, route: string, id: string, query: URLSearchParams): Promise<Reply> => {
    // a page in somebody's browser must not reach the hub
    const host = (req.headers.host ?? '').replace(/:\d+$/, '')
    if (req.headers.origin !== undefined || !['', 'localhost', '127.0.0.1', 'hub'].includes(host))
      throw new ZosError('Call the hub: from this machine only', { code: 'not-from-here' })
    const act = Object.hasOwn(routes, route) ? routes[route] : undefined
    if (!act) throw new ZosError(`${req.method} ${req.url?.slice(0, 100)}: no such call`, { code: 'no-such-call' })
    if (working >= REQUESTS) throw busy(`${REQUESTS} requests are at work`)
    working++
    try {
      return await act({ req, id, query })
    } finally {
      working--
    }
  }
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const url = URL.canParse(req.url ?? '/', 'http://hub') ? new URL(req.url ?? '/', 'http://hub') : undefined
    const [, folder = '', id = '', verb] = url?.pathname.split('/') ?? []
    const route = `${req.method} /${folder}${id === '' ? '' : '/:id'}${verb === undefined ? '' : `/${verb}`}`
    let reply: Reply
    try {
      reply = await serve(req, route, id, url?.searchParams ?? new URLSearchParams())
    } catch (error) {
      // an answer to a body that was not read to its end cannot be followed by another on this connection
      if (!req.complete) res.setHeader('connection', 'close')
      reply = refusal(error)
      metrics.count('zos_hub_refused_total', { reason: codeOf(error) || 'bug' })
    }
    const { release } = reply
    if (release) res.closed ? release() : res.once('close', release)
    const known = Object.hasOwn(routes, route) ? route : 'other'
    metrics.count('zos_hub_requests_total', { route: known, status: String(reply.status) })
    // from here on the client is waited for, not we; the next request on this connection is without it again
    res.setTimeout(options.unread ?? UNREAD, () => res.destroy())
    metrics.count('zos_hub_sent_bytes_total', {}, await end(res, reply))
  }

  const server = http().createServer(TIMES, (req, res) => {
    answer(req, res).catch(() => res.destroy())
  })
  server.maxConnections = CONNECTIONS
  server.on('close', () => uploading[Symbol.dispose]())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new ZosError(`Serve the hub on port ${options.port}: ${cause.message}`, {
          code: 'listen-failed',
          kind: 'node',
          cause,
        }),
      ),
    )
    server.listen(options.port, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  names.push(`http://127.0.0.1:${port}`, `http://localhost:${port}`)
  return server
}

const STATUS: Record<string, number> = {
  'not-authorized': 401,
  'over-quota': 413,
  'body-too-large': 413,
  busy: 503,
  'chain-away': 503,
}

function refusal(error: unknown): Reply {
  const code = codeOf(error) || 'bug'
  const status = STATUS[code] ?? (error instanceof ZosError && error.kind === 'user' ? 400 : 500)
  return { status, body: { error: { code, message: reasonOf(error) } } }
}

/** Sends the answer; gives the bytes of its body. */
async function end(res: ServerResponse, { status, body, headers = {} }: Reply): Promise<number> {
  if (body !== undefined && typeof body === 'object' && Symbol.asyncIterator in body) {
    let sent = 0
    res.writeHead(status, headers)
    const counted = (body instanceof Readable ? body : Readable.from(body)).on('data', (chunk: Uint8Array) => {
      sent += chunk.length
    })
    await pipeline(counted, res)
    return sent
  }
  const bytes =
    body === undefined
      ? Buffer.alloc(0)
      : body instanceof Uint8Array
        ? body
        : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  res.writeHead(status, status === 204 ? headers : { ...headers, 'content-length': bytes.length }).end(bytes)
  return bytes.length
}
