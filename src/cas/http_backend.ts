import { type KeyObject, randomBytes } from 'node:crypto'
import { reasonOf, ZosError } from '#codec'
import { http } from '#sys'
import type { ChunkBackend, Stored } from './backend.ts'
import { readsSigner, signRequest } from './hub_auth.ts'
import { BLOB_LIMIT } from './stored.ts'

/** A hub's HTTP address: `http://HOST:PORT`, or `http+unix:SOCKET` for one that is reached through a unix socket. */
export type HttpPlace = { host: string; port: number } | { socketPath: string }

/** Connections kept open to one hub: as many as an export has requests in flight. */
const CONNECTIONS = 16
/** No byte for this long and the hub counts as away. Milliseconds. */
const SILENCE = 20_000
/** It says nothing while it makes its disk hold what was brought: as long as a hub gives its disk (flush.ts). */
const SILENT_FLUSH = 600_000

/** Reads the address of a hub; undefined when TEXT is none. */
export function parseHttpPlace(text: string): HttpPlace | undefined {
  const socketPath = /^http\+unix:(\/.+)$/.exec(text)?.[1]
  if (socketPath) return { socketPath }
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:' || url.pathname !== '/' || url.search !== '') return undefined
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) }
}

/** Names an upload, in 32 hex digits: a hub's collections spare what one that goes on has brought. */
export const UPLOAD_HEADER = 'x-zos-upload'

type Answer = { status: number; body: Buffer }

/** One call to a hub; whatever keeps it from answering is `source-away`. */
export type HubCall = (method: string, path: string, body?: Uint8Array | object) => Promise<Answer>

export type HubCallOptions = {
  /** Signs each request: who may upload, and read what is private, is known by its key. */
  key?: KeyObject | undefined
  /** By which somebody lets KEY ask in their name at the hub known as `hub`, whose reads are then signed all at once. */
  pass?: { hub: string; text: string | (() => string) } | undefined
  /** Sent with each request, such as a grant. */
  headers?: Record<string, string>
}

/** A hub to be called; `as` gives it as others call it, over the same connections, which `close` ends. */
export type Hub = HubCall & { label: string; as: (options: HubCallOptions) => Hub; close: () => void }

function authorizer({ key, pass }: HubCallOptions) {
  const reads = key && pass && readsSigner(key, pass.hub)
  return (method: string, path: string, body: Uint8Array = Buffer.alloc(0)): Record<string, string> => {
    if (!key) return {}
    const own = pass ? { 'x-zos-for': typeof pass.text === 'string' ? pass.text : pass.text() } : {}
    const reading = reads && (method === 'GET' || method === 'HEAD')
    return { ...own, authorization: reading ? reads() : signRequest(key, { method, path, body }) }
  }
}

export function hubCall(
  place: HttpPlace,
  label: string,
  options: HubCallOptions = {},
  agent = new (http().Agent)({ keepAlive: true, maxSockets: CONNECTIONS }),
): Hub {
  const authorize = authorizer(options)
  const upload = randomBytes(16).toString('hex')
  const once = (method: string, path: string, body: Uint8Array | undefined, json: boolean) =>
    new Promise<Answer>((resolve, reject) => {
      const headers = { [UPLOAD_HEADER]: upload, ...options.headers, ...authorize(method, path, body) }
      const req = http().request({ ...place, method, path, agent, headers }, (res) => {
        const chunks: Buffer[] = []
        let size = 0
        res.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > BLOB_LIMIT + 1) req.destroy(new Error(`it answered more than ${BLOB_LIMIT} bytes`))
          else chunks.push(chunk)
        })
        res.on('error', reject)
        res.on('end', () => {
          if (!res.complete) reject(new Error('it stopped in the middle of an answer'))
          else resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks) })
        })
      })
      const silence = path === '/flush' ? SILENT_FLUSH : SILENCE
      req.setTimeout(silence, () => req.destroy(new Error(`it said nothing for ${silence / 1000} s`)))
      req.on('error', reject)
      if (body) req.setHeader('content-length', body.length)
      if (json) req.setHeader('content-type', 'application/json')
      req.end(body)
    })
  const call: HubCall = async (method, path, body) => {
    const json = body !== undefined && !(body instanceof Uint8Array)
    const bytes = json ? Buffer.from(JSON.stringify(body)) : (body as Uint8Array | undefined)
    let answer: Answer
    try {
      answer = await once(method, path, bytes, json).catch((error: NodeJS.ErrnoException) => {
        // a kept connection the hub closed meanwhile: every call may be repeated
        if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
        return once(method, path, bytes, json)
      })
    } catch (cause) {
      throw new ZosError(`${method} ${path} at hub "${label}": ${reasonOf(cause)}`, {
        code: 'source-away',
        kind: 'node',
        details: { hub: label },
        cause,
      })
    }
    if (answer.status === 404 || answer.status < 300) return answer
    throw refusal(method, path, label, answer)
  }
  return Object.assign(call, {
    label,
    as: (others: HubCallOptions) => hubCall(place, label, others, agent),
    close: () => agent.destroy(),
  })
}

function refusal(method: string, path: string, label: string, { status, body }: Answer): ZosError {
  let reason = `status ${status}`
  let code = 'source-away'
  try {
    const { error } = JSON.parse(body.toString()) as { error: { code: string; message: string } }
    reason = error.message
    if (status < 500) code = error.code
  } catch {}
  return new ZosError(`${method} ${path} at hub "${label}": ${reason}`, { code, kind: 'node', details: { status } })
}

/** Objects at a hub that speaks HTTP (src/hub): `http://HOST:PORT` or `http+unix:SOCKET`. */
export const httpBackend = (place: HttpPlace, label: string, options: HubCallOptions = {}): ChunkBackend =>
  hubBackend(hubCall(place, label, options))

/** Objects at HUB, as it is asked. */
export function hubBackend(call: Hub): ChunkBackend {
  const told = async <T>(method: string, path: string, body?: object) =>
    JSON.parse((await call(method, path, body)).body.toString()) as T
  return {
    label: call.label,
    async get(id) {
      const { status, body } = await call('GET', `/objects/${id}`)
      return status === 404 ? undefined : body
    },
    async put(id, stored) {
      await call('PUT', `/objects/${id}`, stored)
    },
    async has(id) {
      return (await call('HEAD', `/objects/${id}`)).status !== 404
    },
    touch: async (id) => (await told<{ done: boolean }>('POST', `/objects/${id}/touch`)).done,
    delete: async (id) => (await told<{ done: boolean }>('DELETE', `/objects/${id}`)).done,
    deleteOlder: async (id, before) =>
      (await told<{ done: boolean }>('DELETE', `/objects/${id}?before=${before}`)).done,
    async *list() {
      const { body } = await call('GET', '/objects')
      for (const line of body.toString().split('\n')) if (line !== '') yield JSON.parse(line) as Stored
    },
    async flush() {
      await call('POST', '/flush')
    },
  }
}
