import { chmodSync, rmSync } from 'node:fs'
import type { Agent, IncomingMessage, Server, ServerResponse } from 'node:http'
import { type HttpPlace, parseHttpPlace } from '#cas'
import { ZosError } from '#codec'
import { http } from '#sys'
import type { Near } from './near.ts'
import type { Shown } from './shown.ts'

/** Reads alone pass: a node's storage has nothing to tell a hub. */
const OBJECT = /^\/objects\/([0-9a-f]{64})$/
const ALLOWED = /^\/(objects|specs|traces)\/[0-9a-f]{64}$/
/** No byte for this long and the next hub is asked. */
const SILENCE = 15_000
const CONNECTIONS = 32

/** A refusal's words: longer, or later, and they are none. Bytes, milliseconds. */
const WORDS = 4096
const WORDS_DEADLINE = 2_000

/** NAME is its address as it was told to this node, for which signatures are; URL leads there from here. */
export type HubWay = { name: string; url: string }
type Hub = { name: string; place: HttpPlace }

/** One hub's answer, its head read. A connection that was kept open too long is made anew, once. */
function ask(
  hub: Hub,
  headers: Record<string, string>,
  agent: Agent,
  req: IncomingMessage,
  again = true,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const out = http().request({ ...hub.place, path: req.url!, method: req.method!, headers, agent }, resolve)
    out.setTimeout(SILENCE, () => out.destroy(new Error(`no answer for ${SILENCE / 1000} s`)))
    out.on('error', (error) => {
      if (out.reusedSocket && again) ask(hub, headers, agent, req, false).then(resolve, reject)
      else reject(error)
    })
    out.end()
  })
}

/** Why a hub does not give what it was asked for; '' when it says nothing of it. */
async function wordsOf(answer: IncomingMessage): Promise<string> {
  const timer = setTimeout(() => answer.destroy(), WORDS_DEADLINE)
  let text = ''
  try {
    for await (const part of answer.setEncoding('utf8')) {
      text += part
      if (text.length > WORDS) return ''
    }
    return (JSON.parse(text) as { error: { message: string } }).error.message
  } catch {
    return ''
  } finally {
    clearTimeout(timer)
  }
}

async function pass(
  at: { hubs: Hub[]; near: Near; shown: Shown; agent: Agent },
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { hubs, near, shown, agent } = at
  const id = OBJECT.exec(req.url!)?.[1]
  const object = req.method === 'GET' ? id : undefined
  const found = object === undefined ? undefined : await near.find(object)
  if (found) {
    res.writeHead(200, { 'content-length': found.length }).end(found)
    return
  }
  let absent = 0
  let why = ''
  for (const hub of hubs) {
    const headers = shown.at(hub.name)
    let answer: IncomingMessage
    try {
      answer = await ask(hub, headers ?? {}, agent, req)
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
    const none = answer.statusCode === 404
    if (none) answer.resume()
    const words = none ? '' : await wordsOf(answer)
    // what is a group's is absent for whoever does not say who asks
    if (none && (headers || id === undefined)) absent++
    else why ||= words || (headers ? '' : 'this node has not signed for it yet')
  }
  // absent only where every hub says so: one that is away may have it
  const status = absent === hubs.length ? 404 : 502
  const reason = why && `: ${why}`
  const message = `Ask the hubs for "${req.url}": ${hubs.length - absent} of ${hubs.length} do not answer${reason}`
  res.writeHead(status).end(status === 404 ? '' : JSON.stringify({ error: { code: 'source-away', message } }))
}

/**
 * Serves what NEAR nodes have and the hubs at WAYS give whom SHOWN says on the unix socket PATH, in the hub's own protocol;
 * nothing else can be reached by it.
 */
export async function serveHubs(path: string, ways: readonly HubWay[], near: Near, shown: Shown): Promise<Server> {
  const hubs = ways.map(({ name, url: text }) => {
    const place = parseHttpPlace(text)
    if (!place)
      throw new ZosError(`Use hub "${text}": write it as http://HOST:PORT or mycelium://[ADDRESS]/SERVICE`, {
        code: 'bad-hub',
      })
    return { name, place }
  })
  const agent = new (http().Agent)({ keepAlive: true, maxSockets: CONNECTIONS })
  const server = http().createServer({ requestTimeout: 60_000, keepAliveTimeout: 60_000 }, (req, res) => {
    if (req.url === '/ping') res.end(JSON.stringify({ pid: process.pid, near: near.counters }))
    else if (['GET', 'HEAD'].includes(req.method ?? '') && ALLOWED.test(req.url ?? '')) {
      pass({ hubs, near, shown, agent }, req, res).catch(() => res.destroy())
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
