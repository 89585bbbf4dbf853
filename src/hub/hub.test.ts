import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { chunkIdOf, hubCall, leafHashes, seal } from '#cas'
import { sha256Hex } from '#codec'
import { serveHub } from './server.ts'

const dirs: string[] = []
const servers: Server[] = []
after(async () => {
  for (const s of servers) {
    s.close()
    s.closeAllConnections()
  }
  for (const d of dirs) await rm(d, { recursive: true, force: true })
})

async function hub() {
  const dir = await mkdtemp(join(tmpdir(), 'zos-hub-'))
  dirs.push(dir)
  const server = await serveHub({ dir, port: 0 })
  servers.push(server)
  const place = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  return { place, call: hubCall(place, 'test') }
}

test('an upload is taken only under the id its bytes have', async () => {
  const { call } = await hub()
  const chunk = Buffer.alloc(8192, 7)
  const id = chunkIdOf(leafHashes(chunk)).toString('hex')
  const stored = seal('chunk', chunk)
  await assert.rejects(call('PUT', `/objects/${sha256Hex(chunk)}`, stored), { code: 'bad-object' })
  await assert.rejects(call('PUT', `/objects/${id}`, Buffer.from('junk')), { code: 'bad-object' })
  await assert.rejects(call('PUT', '/objects/../../etc', stored), { code: /no-such-call|bad-id/ })
  assert.equal((await call('PUT', `/objects/${id}`, stored)).status, 201)
  assert.deepEqual((await call('GET', `/objects/${id}`)).body, stored)
  const asked = await call('POST', '/missing', { ids: [id, sha256Hex()] })
  assert.deepEqual(JSON.parse(asked.body.toString()), { missing: [sha256Hex()] })
  await assert.rejects(call('DELETE', `/objects/${id}`), { code: 'no-delete' })
})

test('a sealed spec is kept under its hash, whoever asks for another gets nothing', async () => {
  const { call } = await hub()
  const spec = Buffer.from('sealed')
  const hash = sha256Hex(spec)
  await assert.rejects(call('PUT', `/specs/${sha256Hex()}`, spec), { code: 'bad-object' })
  assert.equal((await call('PUT', `/specs/${hash}`, spec)).status, 201)
  assert.deepEqual((await call('GET', `/specs/${hash}`)).body, spec)
  assert.equal((await call('GET', `/specs/${sha256Hex()}`)).status, 404)
})

test('a page in a browser is turned away', async () => {
  const { place } = await hub()
  const url = `http://127.0.0.1:${place.port}/objects`
  assert.equal((await fetch(url, { headers: { origin: 'https://page.example' } })).status, 400)
  assert.equal((await fetch(url)).status, 200)
})
