import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import test from 'node:test'
import { seal } from '#cas'
import { sha256Hex } from '#codec'
import { addressOf } from '#mycelium'
import { nearNodes } from './near.ts'

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
