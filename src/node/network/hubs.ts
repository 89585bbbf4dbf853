import { chmodSync, rmSync } from 'node:fs'
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { type HttpPlace, parseHttpPlace } from '#cas'
import { ZosError } from '#codec'
import type { Near } from './near.ts'

/** Reads alone pass: a node's storage has nothing to tell a hub. */
const OBJECT = /^\/objects\/([0-9a-f]{64})$/
const ALLOWED = /^\/(objects|specs|traces)\/[0-9a-f]{64}$/
/** No byte for this long and the next hub is asked. */
const SILENCE = 15_000
const CONNECTIONS = 32

/** One hub's answer, its head read. A connection that was kept open too long is made anew, once. */
function ask(hub: HttpPlace, agent: Agent, req: IncomingMessage, again = true): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const out = request({ ...hub, path: req.url!, method: req.method!, agent }, resolve)
    out.setTimeout(SILENCE, () => out.destroy(new Error(`no answer for ${SILENCE / 1000} s`)))
    out.on('error', (error) => {
      if (out.reusedSocket && again) ask(hub, agent, req, false).then(resolve, reject)
      else reject(error)
    })
    out.end()
  })
}

async function pass(
  hubs: HttpPlace[],
  near: Near,
  agent: Agent,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const object = req.method === 'GET' ? OBJECT.exec(req.url!)?.[1] : undefined
  const found = object === undefined ? undefined : await near.find(object)
  if (found) {
    res.writeHead(200, { 'content-length': found.length }).end(found)
    return
  }
  let absent = 0
  for (const hub of hubs) {
    let answer: IncomingMessage
    try {
      answer = await ask(hub, agent, req)
    } catch {
      continue
    }
    if (answer.statusCode === 200) {
      const length = answer.headers['content-length']
      res.writeHead(200, length === undefined ? {} : { 'content-length': length })
      answer.on('error', () => res.destroy())
      answer.pipe(res)
      return
    }
    answer.resume()
    if (answer.statusCode === 404) absent++
  }
  // absent only where every hub says so: one that is away may have it
  const status = absent === hubs.length ? 404 : 502
  const message = `Ask the hubs for "${req.url}": ${hubs.length - absent} of ${hubs.length} do not answer`
  res.writeHead(status).end(status === 404 ? '' : JSON.stringify({ error: { code: 'source-away', message } }))
}

/**
 * Serves what NEAR nodes have and the hubs at URLS hold on the unix socket PATH, in the hub's own protocol; nothing else can be
 * reached by it.
 */
export async function serveHubs(path: string, urls: readonly string[], near: Near): Promise<Server> {
  const hubs = urls.map((text) => {
    const place = parseHttpPlace(text)
    if (!place)
      throw new ZosError(`Use hub "${text}": write it as http://HOST:PORT or mycelium://[ADDRESS]/SERVICE`, {
        code: 'bad-hub',
      })
    return place
  })
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const server = createServer({ requestTimeout: 60_000, keepAliveTimeout: 60_000 }, (req, res) => {
    if (req.url === '/ping') res.end(JSON.stringify({ pid: process.pid, near: near.counters }))
    else if (['GET', 'HEAD'].includes(req.method ?? '') && ALLOWED.test(req.url ?? '')) {
      pass(hubs, near, agent, req, res).catch(() => res.destroy())
    } else res.writeHead(403).end()
  })
  rmSync(path, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  chmodSync(path, 0o600)
  return server
}
