import { mkdir, readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { dirBackend } from '#cas'
import { codeOf, reasonOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { decodeTrace, TRACE_LIMIT } from '#zosfs'
import { readBody } from './body.ts'
import { byContent, type Check, checkId, checkSpec, missing, takeObject } from './objects.ts'

export type HubOptions = {
  dir: string
  /** 0 takes a free one. */
  port: number
  /** What an upload must satisfy; by default that its bytes are those its id names. */
  check?: Check
  /** Whether DELETE is served; a hub of others' content does not. */
  deletes?: boolean
}

const SPEC_LIMIT = 4 << 20
const JSON_LIMIT = 1 << 20
/** Requests at work and connections at a time; more wait or are turned away. */
const CONNECTIONS = 256

type Reply = { status: number; body?: Uint8Array | object | string }
type Ask = { req: IncomingMessage; id: string; query: URLSearchParams }

/**
 * Serves the folder of a hub over HTTP on 127.0.0.1. Whoever can connect may read and upload: uploads are checked by
 * content, so nobody can change what is there; who may fill the disk is decided by who reaches the port.
 */
export async function serveHub(options: HubOptions): Promise<Server> {
  const { dir, check = byContent } = options
  await mkdir(join(dir, 'specs'), { recursive: true })
  const backend = dirBackend(dir, { temporary: join(dir, 'tmp') })
  const specFile = (hash: string) => join(dir, 'specs', checkId(hash))
  const traceFile = (digest: string) => join(dir, 'traces', checkId(digest))
  const json = async (req: IncomingMessage) => JSON.parse((await readBody(req, JSON_LIMIT)).toString() || '{}')
  const removal = async ({ id, query }: Ask): Promise<Reply> => {
    if (!options.deletes)
      throw new ZosError('Delete object: this hub deletes nothing by request', { code: 'no-delete' })
    const before = query.get('before')
    const done = before === null ? backend.delete(checkId(id)) : backend.deleteOlder(checkId(id), Number(before))
    return { status: 200, body: { done: await done } }
  }

  const routes: Record<string, (ask: Ask) => Promise<Reply>> = {
    'GET /': async () => ({ status: 200, body: { format: 'zos-hub/1', pid: process.pid } }),
    'GET /objects': async () => {
      let lines = ''
      for await (const item of backend.list()) lines += `${JSON.stringify(item)}\n`
      return { status: 200, body: lines }
    },
    'GET /objects/:id': async ({ id }) => {
      const stored = await backend.get(checkId(id))
      return stored ? { status: 200, body: stored } : { status: 404 }
    },
    'HEAD /objects/:id': async ({ id }) => ({ status: (await backend.has(checkId(id))) ? 200 : 404 }),
    'PUT /objects/:id': async ({ id, req }) => {
      await takeObject(backend, check, id, req)
      return { status: 201 }
    },
    'POST /objects/:id/touch': async ({ id }) => ({ status: 200, body: { done: await backend.touch(checkId(id)) } }),
    'DELETE /objects/:id': removal,
    'POST /missing': async ({ req }) => ({
      status: 200,
      body: { missing: await missing(backend, (await json(req)).ids) },
    }),
    'POST /flush': async () => {
      await backend.flush()
      return { status: 204 }
    },
    'GET /specs/:id': ({ id }) => fileReply(specFile(id)),
    'GET /traces/:id': ({ id }) => fileReply(traceFile(id)),
    'PUT /traces/:id': async ({ id, req }) => {
      const bytes = await readBody(req, TRACE_LIMIT)
      if (!decodeTrace(bytes) || !(await backend.has(checkId(id))))
        throw new ZosError(`Keep trace "${id}": it is none, or there is no such manifest here`, { code: 'bad-trace' })
      await writeAtomic(traceFile(id), bytes, { sync: false })
      return { status: 201 }
    },
    'PUT /specs/:id': async ({ id, req }) => {
      const bytes = await readBody(req, SPEC_LIMIT)
      checkSpec(checkId(id), bytes)
      await writeAtomic(specFile(id), bytes)
      return { status: 201 }
    },
  }

  const serve = async (req: IncomingMessage): Promise<Reply> => {
    // a page in somebody's browser must not reach the hub
    const host = (req.headers.host ?? '').replace(/:\d+$/, '')
    if (req.headers.origin !== undefined || !['', 'localhost', '127.0.0.1', 'hub'].includes(host))
      throw new ZosError('Call the hub: from this machine only', { code: 'not-from-here' })
    const url = new URL(req.url ?? '/', 'http://hub')
    const [, folder = '', id = '', verb] = url.pathname.split('/')
    const pattern = `${req.method} /${folder}${id === '' ? '' : '/:id'}${verb === undefined ? '' : `/${verb}`}`
    const route = Object.hasOwn(routes, pattern) ? routes[pattern] : undefined
    if (!route) throw new ZosError(`${req.method} ${url.pathname}: no such call`, { code: 'no-such-call' })
    return route({ req, id, query: url.searchParams })
  }

  const server = createServer({ requestTimeout: 300_000, headersTimeout: 10_000 }, (req, res) => {
    serve(req).then(
      (reply) => end(res, reply),
      (error: unknown) => {
        // an answer to a body that was not read to its end cannot be followed by another on this connection
        if (!req.complete) res.setHeader('connection', 'close')
        const status = error instanceof ZosError && error.kind === 'user' ? 400 : 500
        end(res, { status, body: { error: { code: codeOf(error) || 'bug', message: reasonOf(error) } } })
      },
    )
  })
  server.maxConnections = CONNECTIONS
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
  return server
}

async function fileReply(path: string): Promise<Reply> {
  try {
    return { status: 200, body: await readFile(path) }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return { status: 404 }
    throw error
  }
}

function end(res: ServerResponse, { status, body }: Reply): void {
  const bytes =
    body === undefined
      ? Buffer.alloc(0)
      : body instanceof Uint8Array
        ? body
        : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  res.writeHead(status, status === 204 ? {} : { 'content-length': bytes.length }).end(bytes)
}
