// Many who read one chain's logs at once: what they can make it hold in memory is bounded, and they get it all in the end.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type ClientRequest, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { sleep, until } from '#sys'
import { events } from '../actions/logs.ts'
import { write } from '../actions/relayer.ts'
import { openWorld, root } from '../testing/world.ts'
import { serveRpc } from './serve.ts'

const MIB = 1 << 20

test('logs of more bytes than one answer gives are read piece by piece, by several at once', {
  skip: process.env.ZOS_TEST_RPC ? 'the embedded chain alone' : false,
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const { group, set } = await w.team()
  const member = set.members.findIndex((m) => m.signer === members.alice.address)
  const data = `0x${'5a'.repeat(100_000)}`
  for (let n = 0; n < 44; n++)
    await write(grid, relayer, 'post', [group, 1, root(n), member, members.alice.sign(root(n)), data])
  const head = await grid.engine.finalized()
  const all = { address: grid.contract, fromBlock: '0x0', toBlock: 'latest' }
  await assert.rejects(grid.engine.request({ method: 'eth_getLogs', params: [all] }), /ask for a smaller range/)
  const read = await Promise.all(
    Array.from({ length: 8 }, () => events(grid, ['Posted'], [group], { to: BigInt(head.number) })),
  )
  for (const found of read) assert.equal(found.length, 44)
})

test('answers that nobody fetches hold so many bytes and no more; with them gone others are served again', {
  timeout: 180_000,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-readers-'))
  const socketPath = join(dir, 'rpc.sock')
  let calls = 0
  const server = await serveRpc(
    { large: () => 'x'.repeat(4 * MIB), small: () => 'x', counted: () => 'x'.repeat(4 * MIB + 0 * calls++) },
    { socket: socketPath },
  )
  const ask = (method = 'large'): ClientRequest => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: [] })
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const req = request({ socketPath, method: 'POST', path: '/', headers, agent: false })
    req.on('error', () => {})
    req.end(body)
    return req
  }
  const status = async (req: ClientRequest) => {
    const [res] = (await once(req, 'response')) as [import('node:http').IncomingMessage]
    res.resume()
    await once(res, 'end')
    return res.statusCode
  }
  try {
    // they hear that there is an answer, and take nothing of it
    const slow = Array.from({ length: 24 }, () => ask())
    for (const req of slow) req.on('response', (res) => res.pause())
    await until('the answers that may wait', 20_000, async () => (await status(ask())) === 503)
    const held = () => slow.filter((req) => (req as { res?: { statusCode: number } }).res?.statusCode === 200).length
    await until('who was given one to hear of it', 20_000, () => held() >= 7)
    await sleep(200)
    assert.equal(held(), 7, 'answers of 4 MiB and a little that wait')
    assert.equal(await status(ask('small')), 200, 'who asks for a little is served')
    for (const req of slow) req.destroy()
    const batch = request({ socketPath, method: 'POST', path: '/', agent: false })
    batch.end(
      JSON.stringify(Array.from({ length: 40 }, () => ({ jsonrpc: '2.0', id: 1, method: 'counted', params: [] }))),
    )
    assert.deepEqual([await status(batch), calls], [503, 8], 'a batch stops at what may wait')
    await until('an answer', 20_000, async () => (await status(ask())) === 200)
  } finally {
    server.closeAllConnections()
    server.close()
    await rm(dir, { recursive: true, force: true })
  }
})
