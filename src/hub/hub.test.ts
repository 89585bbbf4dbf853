import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { chunkIdOf, hubCall, leafHashes, seal } from '#cas'
import { sha256Hex } from '#codec'
import { decodeTrace, encodeTrace, TRACE_LIMIT } from '#zosfs'
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

test('a trace is kept beside a manifest that is there, and nothing else as one', async () => {
  const { call } = await hub()
  const manifest = Buffer.from('manifest')
  const digest = sha256Hex(manifest)
  const trace = encodeTrace([3, 1, 2])
  await assert.rejects(call('PUT', `/traces/${digest}`, trace), { code: 'bad-trace' })
  await call('PUT', `/objects/${digest}`, seal('blob', manifest))
  assert.equal((await call('GET', `/traces/${digest}`)).status, 404)
  for (const bad of [trace.subarray(1), Buffer.concat([trace, Buffer.alloc(1)]), Buffer.from('junk')])
    await assert.rejects(call('PUT', `/traces/${digest}`, bad), { code: 'bad-trace' })
  await assert.rejects(call('PUT', `/traces/${digest}`, Buffer.alloc(TRACE_LIMIT + 1)), { code: 'body-too-large' })
  await call('PUT', `/traces/${digest}`, trace)
  assert.deepEqual(decodeTrace((await call('GET', `/traces/${digest}`)).body), [3, 1, 2])
})

test('a page in a browser is turned away', async () => {
  const { place } = await hub()
  const url = `http://127.0.0.1:${place.port}/objects`
  assert.equal((await fetch(url, { headers: { origin: 'https://page.example' } })).status, 400)
  assert.equal((await fetch(url)).status, 200)
})
