import { Agent, request as plain } from 'node:http'
import { request as secure } from 'node:https'
import { codeOf, reasonOf, ZosError } from '#codec'

/** Bytes of one answer: ten thousand logs are below this. */
const ANSWER_LIMIT = 64 << 20

export type RpcFault = Error & { code: number; data?: unknown }

let counter = 0
/** Connections by a socket are kept: behind it may be a way of its own, dearer to open than a question is to ask. */
const kept = new Agent({ keepAlive: true, maxSockets: 32 })

/**
 * One JSON-RPC call to URL: http://, https:// or unix:///path. Throws a RpcFault when the other side answers with an
 * error, a ZosError `rpc-unreachable` when it does not answer in time.
 */
export function callRpc(url: string, method: string, params: unknown, timeout: number, again = true): Promise<unknown> {
  const id = ++counter
  const body = JSON.stringify({ jsonrpc: '2.0', id, method, params })
  const unix = url.startsWith('unix:')
  const send = url.startsWith('https:') ? secure : plain
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown) =>
      reject(
        new ZosError(`Call "${url}": ${reason}`, {
          code: 'rpc-unreachable',
          kind: 'node',
          ...(cause === undefined ? {} : { cause }),
        }),
      )
    // what changes something is not said twice: on a connection of its own no end of it leaves a doubt
    const keep = unix && !method.startsWith('eth_send')
    const options = { method: 'POST', headers, agent: keep ? kept : (false as const) }
    const answered = (res: import('node:http').IncomingMessage) => {
      const chunks: Buffer[] = []
      let size = 0
      res.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > ANSWER_LIMIT) req.destroy(new Error(`an answer above ${ANSWER_LIMIT} bytes`))
        else chunks.push(chunk)
      })
      res.on('error', (error) => fail(error.message, error))
      res.on('end', () => {
        try {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as { result?: unknown; error?: RpcFault }
          if (answer.error) reject(Object.assign(new Error(answer.error.message), answer.error))
          else if (!('result' in answer)) fail(`status ${res.statusCode}, and no result`)
          else resolve(answer.result)
        } catch (cause) {
          fail(`status ${res.statusCode}: ${reasonOf(cause)}`, cause)
        }
      })
    }
    const req = unix
      ? send({ ...options, socketPath: url.replace(/^unix:(\/\/)?/, ''), path: '/', host: 'unix' }, answered)
      : send(url, options, answered)
    // a deadline over the whole call, not over silence: an answer that drips is late as well
    const timer = setTimeout(() => req.destroy(new Error(`no answer within ${timeout / 1000} s`)), timeout)
    req.on('error', (error) => {
      // kept for longer than the other side did
      if (req.reusedSocket && again && codeOf(error) === 'ECONNRESET')
        callRpc(url, method, params, timeout, false).then(resolve, reject)
      else fail(error.message, error)
    })
    req.on('close', () => clearTimeout(timer))
    req.end(body)
  })
}
