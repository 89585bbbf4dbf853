import type { IncomingMessage } from 'node:http'
import type { Agent as SecureAgent } from 'node:https'
import { codeOf, reasonOf, ZosError } from '#codec'
import { http, sleep } from '#sys'

/** Bytes of one answer: ten thousand logs are below this. */
const ANSWER_LIMIT = 64 << 20

export type RpcFault = Error & { code: number; data?: unknown }

let counter = 0
/**
 * Connections are kept where a new one is dear: a unix socket may lead over the overlay, and TLS to a public RPC node takes three
 * round trips. No more than this at once, as such nodes count them.
 */
const KEEP = { keepAlive: true, maxSockets: 32 }
const kept = new (http().Agent)(KEEP)
let keptSecure: SecureAgent | undefined
/** Loaded by the first address that needs TLS: 25 ms of CPU. */
function secure() {
  const https = process.getBuiltinModule('node:https')
  keptSecure ??= new https.Agent(KEEP)
  return { send: https.request, agent: keptSecure }
}

/** First pause after "too many requests" that names none, doubled each time. Milliseconds. */
const PAUSE = 250

/** What providers say instead of an answer when too much was asked lately; -32005 is also said of too large a range. */
class Busy extends Error {
  readonly pause: number | undefined
  constructor(reason: string, pause?: number) {
    super(reason)
    this.pause = pause
  }
}
const isBusy = ({ code, message }: RpcFault): boolean =>
  code === 429 || (code === -32005 && /rate|too many requests|per second|throttl|capacity/i.test(message))

const unreachable = (url: string, reason: string, cause?: unknown) =>
  new ZosError(`Call "${url}": ${reason}`, {
    code: 'rpc-unreachable',
    kind: 'node',
    ...(cause === undefined ? {} : { cause }),
  })

/**
 * One JSON-RPC call to URL: http://, https:// or unix:///path. Asks again, later, where too much was asked. Throws a RpcFault when
 * the other side answers with an error, a ZosError `rpc-unreachable` when it does not answer within TIMEOUT ms.
 */
export async function callRpc(url: string, method: string, params: unknown, timeout: number): Promise<unknown> {
  const end = performance.now() + timeout
  for (let pause = PAUSE; ; pause *= 2) {
    try {
      return await callOnce(url, method, params, end - performance.now())
    } catch (error) {
      if (!(error instanceof Busy)) throw error
      // not all that were refused at once come back at once
      const wait = (error.pause ?? pause) * (1 + Math.random() / 2)
      if (performance.now() + wait > end) throw unreachable(url, `too much was asked of it: ${error.message}`, error)
      await sleep(wait)
    }
  }
}

function callOnce(url: string, method: string, params: unknown, timeout: number, again = true): Promise<unknown> {
  const id = ++counter
  const body = JSON.stringify({ jsonrpc: '2.0', id, method, params })
  const unix = url.startsWith('unix:')
  const tls = url.startsWith('https:') ? secure() : undefined
  const send = tls?.send ?? http().request
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown) => reject(unreachable(url, reason, cause))
    // what changes something is not said twice: on a connection of its own no end of it leaves a doubt
    const own = !again || method.startsWith('eth_send') || !(unix || tls)
    const agent = own ? (false as const) : unix ? kept : tls!.agent
    const options = { method: 'POST', headers, agent }
    const answered = (res: IncomingMessage) => {
      const chunks: Buffer[] = []
      let size = 0
      res.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > ANSWER_LIMIT) req.destroy(new Error(`an answer above ${ANSWER_LIMIT} bytes`))
        else chunks.push(chunk)
      })
      res.on('error', (error) => fail(error.message, error))
      res.on('end', () => {
        if (res.statusCode === 429) {
          const after = Number(res.headers['retry-after'])
          return reject(new Busy('status 429', after > 0 ? after * 1000 : undefined))
        }
        try {
          const answer = JSON.parse(Buffer.concat(chunks).toString()) as { result?: unknown; error?: RpcFault }
          if (answer.error && isBusy(answer.error)) reject(new Busy(answer.error.message))
          else if (answer.error) reject(Object.assign(new Error(answer.error.message), answer.error))
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
    const late = new Error(`no answer within ${Math.round(timeout / 100) / 10} s`)
    const timer = setTimeout(() => req.destroy(late), timeout)
    req.on('error', (error) => {
      // kept for longer than the other side did, as all that are kept may be
      if (req.reusedSocket && again && ['ECONNRESET', 'EPIPE'].includes(codeOf(error)))
        callOnce(url, method, params, timeout, false).then(resolve, reject)
      else fail(error.message, error)
    })
    req.on('close', () => clearTimeout(timer))
    req.end(body)
  })
}
