import type { RequestOptions } from 'node:http'
import type { Duplex } from 'node:stream'
import { ZosError } from '#codec'
import { http } from './node-http.ts'

/** It did not come in time: the answer says how far it is. */
const NOT_IN_TIME = 408

/** Without a name Node looks whether "localhost" is an IPv6 address: 20 ms, once. */
const NO_SERVER_NAME = { agent: false, servername: '' } satisfies RequestOptions & { servername: string }

function thrown(text: string, status: number): ZosError {
  try {
    const { error } = JSON.parse(text) as {
      error: { code: string; kind: 'user'; message: string; details: Record<string, unknown> }
    }
    return new ZosError(error.message, { code: error.code, kind: error.kind, details: error.details })
  } catch {
    return new ZosError(`Call over unix socket: status ${status}: ${text.slice(0, 200)}`, {
      code: 'bad-answer',
      kind: 'node',
    })
  }
}

const noAnswer = (method: string, path: string, socketPath: string): ZosError =>
  new ZosError(`${method} ${path}: no answer from "${socketPath}"`, { code: 'deadline', kind: 'node' })

export type CallOptions = { body?: unknown; signal?: AbortSignal; timeout?: number }

/** One JSON call to a unix socket; the other side's ZosError is thrown here as one. Default deadline 60 s. */
export function callUnix<T = unknown>(
  socketPath: string,
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    const text = options.body === undefined ? undefined : JSON.stringify(options.body)
    const req = http().request(
      { ...NO_SERVER_NAME, socketPath, method, path, ...(options.signal ? { signal: options.signal } : {}) },
      (res) => {
        let answer = ''
        res.setEncoding('utf8').on('data', (d: string) => (answer += d))
        res.on('error', reject)
        res.on('end', () => {
          const status = res.statusCode ?? 0
          try {
            if (status < 400 || status === NOT_IN_TIME)
              return resolve((answer === '' ? undefined : JSON.parse(answer)) as T)
          } catch {
            // said below, with what was answered
          }
          reject(thrown(answer, status))
        })
      },
    )
    req.setTimeout(options.timeout ?? 60_000, () => req.destroy(noAnswer(method, path, socketPath)))
    req.on('error', reject)
    if (text !== undefined) req.setHeader('content-type', 'application/json')
    req.end(text)
  })
}

/** Opens a byte stream by upgrade; BODY travels in a header (keep it below 8 KiB). TIMEOUT: until it is open. Milliseconds. */
export function openUnix(socketPath: string, path: string, body?: unknown, timeout?: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const req = http().request({
      ...NO_SERVER_NAME,
      socketPath,
      method: 'POST',
      path,
      headers: {
        connection: 'upgrade',
        upgrade: 'zos',
        'x-zos-body': Buffer.from(JSON.stringify(body ?? null)).toString('base64'),
      },
    })
    req.on('upgrade', (_res, socket, head) => {
      if (head.length) socket.unshift(head)
      resolve(socket)
    })
    // node forgets it with the upgrade: an open stream may be silent for as long as it likes
    if (timeout !== undefined) req.setTimeout(timeout, () => req.destroy(noAnswer('POST', path, socketPath)))
    req.on('response', (res) => {
      let answer = ''
      res.setEncoding('utf8').on('data', (d: string) => (answer += d))
      res.on('error', reject)
      res.on('end', () => reject(thrown(answer, res.statusCode ?? 0)))
    })
    req.on('error', reject)
    req.end()
  })
}
