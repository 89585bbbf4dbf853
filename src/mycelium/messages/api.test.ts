import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { callUnix, serveUnix } from '#sys'
import { formatAddress } from '../address.ts'
import { identityOf } from '../identity.ts'
import { messageCalls } from './api.ts'
import { openMessages } from './messages.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Status and body of one call, as any HTTP client sees them. */
const asked = (socketPath: string, method: string, path: string, body?: unknown): Promise<[number, unknown]> =>
  new Promise((resolve, reject) => {
    const req = request({ socketPath, method, path, headers: { 'content-type': 'application/json' } }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (d: string) => (text += d))
      res.on('end', () => resolve([res.statusCode!, text === '' ? undefined : JSON.parse(text)]))
    })
    req.on('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
  })

// by mycelium-api/src/message.rs of the public daemon 0.7.10
test("the calls under /api/v1/messages have the public daemon's statuses and names", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-messages-api-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const identity = identityOf(randomBytes(32))
  await using messages = await openMessages({ dir: join(dir, 'kept'), identity, send: () => {} })
  const path = join(dir, 'api.sock')
  const server = await serveUnix(path, { calls: messageCalls(messages) })
  t.after(() => server.close())
  const M = '/api/v1/messages'
  const ask = (method: string, of: string, body?: unknown) => asked(path, method, `${M}${of}`, body)
  const dst = { ip: formatAddress(identityOf(randomBytes(32)).address) }
  const message = { dst, topic: base64('news'), payload: base64('hello') }

  const [pushed, said] = await ask('POST', '', message)
  assert.deepEqual([pushed, Object.keys(said as object)], [201, ['id']])
  const { id } = said as { id: string }
  assert.match(id, /^[0-9a-f]{16}$/)
  const [late, still] = await ask('POST', '?reply_timeout=1', message)
  assert.deepEqual([late, Object.keys(still as object)], [408, ['id']])
  // our own client is told how far it is, not that it failed
  const got = await callUnix<{ id: string }>(path, 'POST', `${M}?reply_timeout=0`, { body: message })
  assert.match(got.id, /^[0-9a-f]{16}$/)

  const [found, status] = await ask('GET', `/status/${id}`)
  assert.equal(found, 200)
  assert.deepEqual(Object.keys(status as object), ['dst', 'state', 'created', 'deadline', 'msgLen'])
  const sources = `/topics/${encodeURIComponent(base64('news'))}/sources`
  const forward = sources.replace('sources', 'forward')
  for (const [method, of, body, expected] of [
    ['GET', '', undefined, [204, undefined]],
    ['POST', `/reply/${id}`, { dst, payload: base64('yes') }, [204, undefined]],
    ['GET', '/topics/default', undefined, [200, { accept: true }]],
    ['PUT', '/topics/default', { accept: false }, [204, undefined]],
    ['GET', '/topics', undefined, [200, []]],
    ['POST', '/topics', [...Buffer.from('news')], [201, undefined]],
    ['GET', '/topics', undefined, [200, [base64('news')]]],
    ['POST', sources, { subnet: '5ff::/16' }, [201, undefined]],
    ['GET', sources, undefined, [200, ['5ff::/16']]],
    ['DELETE', `${sources}/${encodeURIComponent('5ff::/16')}`, undefined, [204, undefined]],
    ['GET', forward, undefined, [200, null]],
    ['PUT', forward, { socketPath: '/run/program.sock' }, [204, undefined]],
    ['GET', forward, undefined, [200, '/run/program.sock']],
    ['DELETE', forward, undefined, [204, undefined]],
    ['DELETE', `/topics/${encodeURIComponent(base64('news'))}`, undefined, [204, undefined]],
  ] as const)
    assert.deepEqual(await ask(method, of, body), expected, `${method} ${of}`)
  for (const [method, of, body, expected] of [
    ['GET', `/status/${'0'.repeat(16)}`, undefined, 404],
    ['GET', sources, undefined, 404],
    ['POST', sources, { subnet: 'everywhere' }, 400],
    ['POST', '', { dst: {}, payload: '' }, 400],
    ['POST', '', { ...message, payload: 'not base64!' }, 400],
  ] as const)
    assert.equal((await ask(method, of, body))[0], expected, `${method} ${of}`)
})
