import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { hubCall, seal } from '#cas'
import { sha256Hex } from '#codec'
import { addressOf } from '#mycelium'
import { serveHubs } from './hubs.ts'
import { nearNodes } from './near.ts'
import { whatIsShown } from './shown.ts'

const plain = Buffer.from('a manifest, say')
const id = sha256Hex(plain)

test('nodes are asked before the hub, and believed only when what they give is what was asked for', async (t) => {
  const asked: string[] = []
  const answers: Record<string, () => Buffer | undefined> = {}
  const keys: string[] = []
  const ports = new Map<string, number>()
  for (const name of ['lies', 'hangs', 'lacks', 'has']) {
    const key = randomBytes(32).toString('hex')
    keys.push(key)
    const server = createServer((_req, res) => {
      asked.push(name)
      if (name === 'hangs') res.destroy()
      else {
        const body = answers[name]?.()
        res.writeHead(body ? 200 : 404).end(body)
      }
    }).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await once(server, 'listening')
    ports.set(addressOf(Buffer.from(key, 'hex')).toString('hex'), (server.address() as { port: number }).port)
  }
  const good = seal('blob', plain)
  answers.lies = () => seal('blob', Buffer.from('something else'))
  answers.has = () => good

  const near = nearNodes()
  near.set(keys)
  assert.equal(await near.find(id), undefined, 'nobody can be reached yet')
  near.by((address) => connect(ports.get(Buffer.from(address).toString('hex'))!, '127.0.0.1'))
  // two are asked for one object: then the hub's turn has come
  assert.equal(await near.find(id), undefined)
  assert.deepEqual(asked.splice(0), ['lies', 'hangs'])
  // both are left alone now
  assert.deepEqual(await near.find(id), good)
  assert.deepEqual(near.counters, { given: 1, absent: asked.filter((n) => n === 'lacks').length, failed: 1, lied: 1 })
  assert.ok(!asked.includes('lies') && !asked.includes('hangs'))
  for (let n = 0; n < 20; n++) assert.deepEqual(await near.find(id), good)
  assert.ok(asked.filter((name) => name === 'lacks').length <= 8, 'who has nothing is left alone')
  near.set([])
  assert.equal(await near.find(id), undefined)
})

test('only nodes of the grid are served', () => {
  const near = nearNodes()
  const from = { address: Buffer.alloc(16), publicKey: 'ab'.repeat(32) }
  assert.throws(() => near.service('/nowhere')(from), /only nodes of the grid are served/)
})

async function served(t: TestContext, answer: RequestListener): Promise<number> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

test('the nearest is asked first, and a hub only for what no node gave', async (t) => {
  const asked: string[] = []
  const good = seal('blob', plain)
  let isThere = true
  const ports = new Map<string, number>()
  const keys: string[] = []
  // how far each is says a clock of the test's own: on loaded cores the nearest may be slow to answer
  let now = 0
  t.mock.method(performance, 'now', () => now)
  // named in this order, the far ones first
  for (const [name, delay] of [
    ['far', 150],
    ['farther', 200],
    ['nearest', 1],
  ] as const) {
    const key = randomBytes(32).toString('hex')
    keys.push(key)
    const port = await served(t, (_req, res) => {
      asked.push(name)
      now += delay
      res.writeHead(isThere ? 200 : 404).end(isThere ? good : '')
    })
    ports.set(addressOf(Buffer.from(key, 'hex')).toString('hex'), port)
  }
  const near = nearNodes()
  near.by((address) => connect(ports.get(Buffer.from(address).toString('hex'))!, '127.0.0.1'))
  near.set(keys)
  const dir = mkdtempSync(join(tmpdir(), 'zos-near-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const hub = await served(t, (_req, res) => {
    asked.push('hub')
    res.writeHead(200).end(good)
  })
  const path = join(dir, 'network.sock')
  const server = await serveHubs(path, [{ name: 'hub', url: `http://127.0.0.1:${hub}` }], near, whatIsShown())
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const call = hubCall({ socketPath: path }, 'network plane')
  const get = async () => {
    const answer = await call('GET', `/objects/${id}`)
    assert.deepEqual([answer.status, Buffer.from(answer.body)], [200, good])
  }
  // each is tried until it is known how far it is
  for (let n = 0; n < 3; n++) await get()
  assert.deepEqual(asked.splice(0), ['far', 'farther', 'nearest'])
  for (let n = 0; n < 5; n++) await get()
  assert.deepEqual(asked.splice(0), Array(5).fill('nearest'))
  isThere = false
  await get()
  assert.deepEqual(asked.splice(0), ['nearest', 'far', 'hub'])
  call.close()
})
