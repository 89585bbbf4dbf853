import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { hubCall } from '#cas'
import { sha256Hex } from '#codec'
import { serveHubs } from './hubs.ts'
import { nearNodes } from './near.ts'
import { whatIsShown } from './shown.ts'

const id = sha256Hex()

test('a hub is shown what was signed for it alone; without that its "none" is no answer, and a refusal’s words are passed on', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-hubs-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const served = async (answer: (req: IncomingMessage, res: ServerResponse) => void) => {
    const server = createServer(answer).listen(0, '127.0.0.1')
    t.after(() => {
      server.close()
      server.closeAllConnections()
    })
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const shown = whatIsShown()
  const seen: (string | undefined)[][] = []
  let status = 404
  let body: string | undefined = ''
  const one = await served((req, res) => {
    const { 'x-zos-for': pass, authorization } = req.headers
    seen.push([pass as string | undefined, authorization?.split(' ').slice(0, 2).join(' ')])
    res.writeHead(status)
    if (body !== undefined) return res.end(body)
    // words without an end
    const more = setInterval(() => res.write('x'.repeat(1000)), 5)
    return res.on('close', () => clearInterval(more))
  })
  const two = await served((_req, res) => res.writeHead(404).end())
  const path = join(dir, 'network.sock')
  const ways = [
    { name: 'hub://one', url: one },
    { name: 'hub://two', url: two },
  ]
  const server = await serveHubs(path, ways, nearNodes(), shown)
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const call = hubCall({ socketPath: path }, 'network plane')
  const get = (kind = 'objects') => call('GET', `/${kind}/${id}`)
  const until = Math.floor(Date.now() / 1000) + 60
  const both = [
    { hub: 'hub://one', text: 'for one', until },
    { hub: 'hub://two', text: 'for two', until },
  ]

  await assert.rejects(get(), {
    code: 'source-away',
    message: /2 of 2 do not answer: this node has not signed for it yet/,
  })
  assert.equal((await get('specs')).status, 404, 'of what needs no signature none is none')
  assert.deepEqual(seen.splice(0), [
    [undefined, undefined],
    [undefined, undefined],
  ])
  shown.set(both.slice(0, 1))
  await assert.rejects(get(), { message: /1 of 2 do not answer/ })
  shown.set(both)
  assert.equal((await get()).status, 404)
  assert.deepEqual(seen.splice(0), Array(2).fill(['for one', `ZOS1-READS ${shown.key}`]))
  shown.set(both.map((p) => ({ ...p, until: until - 61 })))
  await assert.rejects(get(), { code: 'source-away' }, 'what lapsed is nothing')
  shown.set(both)
  status = 401
  body = JSON.stringify({ error: { code: 'not-authorized', message: 'because of the moon' } })
  await assert.rejects(get(), { message: /1 of 2 do not answer: because of the moon/ })
  body = undefined
  await assert.rejects(get(), { message: /1 of 2 do not answer$/ })
  call.close()
})
