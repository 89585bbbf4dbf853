import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import {
  BATCH_BODY,
  BATCH_OBJECTS,
  chunkIdOf,
  decodeObjects,
  encodeObjects,
  hubCall,
  keyName,
  leafHashes,
  seal,
  signGrant,
  signRequest,
} from '#cas'
import { sha256Hex } from '#codec'
import { until } from '#sys'
import { decodeTrace, encodeTrace, TRACE_LIMIT } from '#zosfs'
import type { Policy } from './access.ts'
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

async function hub(options: { policy?: Policy; dir?: string } = {}) {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'zos-hub-')))
  dirs.push(dir)
  const server = await serveHub({ at: dir, port: 0, policy: options.policy })
  servers.push(server)
  const place = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  return {
    place,
    dir,
    call: hubCall(place, 'test'),
    as: (key: KeyObject, headers = {}) => hubCall(place, 'test', { key, headers }),
  }
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

test('many objects in one request: each is checked, and one that is cut off is refused whole', async () => {
  const { call } = await hub()
  const all = Array.from({ length: 20 }, (_, n) => chunkOf(n))
  const batch = encodeObjects(all)
  assert.deepEqual(decodeObjects(batch), all)
  for (const end of [1, 35, 36, batch.length - 1])
    await assert.rejects(call('POST', '/objects', batch.subarray(0, end)), { code: 'bad-batch' })
  const long = encodeObjects(
    Array.from({ length: BATCH_OBJECTS + 1 }, () => ({ id: sha256Hex(), stored: Buffer.alloc(0) })),
  )
  await assert.rejects(call('POST', '/objects', long), { code: 'bad-batch' })
  await assert.rejects(call('POST', '/objects', Buffer.alloc(BATCH_BODY + 1)), { code: 'body-too-large' })
  const ids = all.map(({ id }) => id)
  assert.equal(json((await call('POST', '/missing', { ids })).body).missing.length, 20, 'nothing of those was kept')
  const wrong = encodeObjects([all[0]!, { id: all[1]!.id, stored: all[2]!.stored }, all[3]!])
  await assert.rejects(call('POST', '/objects', wrong), { code: 'bad-object' })
  assert.deepEqual(json((await call('POST', '/missing', { ids })).body).missing, ids.slice(1))
  assert.equal((await call('POST', '/objects', batch)).status, 201)
  assert.deepEqual(json((await call('POST', '/missing', { ids })).body), { missing: [] })
  for (const { id, stored } of all) assert.deepEqual((await call('GET', `/objects/${id}`)).body, stored)
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

const newKey = () => generateKeyPairSync('ed25519').privateKey
/** A chunk of its own for each N, stored raw or packed, and its id. */
function chunkOf(n: number, size = 8192) {
  const chunk = Buffer.alloc(size, n % 251)
  chunk.writeUInt32LE(n)
  return { id: chunkIdOf(leafHashes(chunk)).toString('hex'), stored: seal('chunk', chunk) }
}
const json = (body: Buffer) => JSON.parse(body.toString())

test('with a policy: known keys upload, up to their quota; a signature is for one request and a short time', async () => {
  const [alice, mallory] = [newKey(), newKey()]
  const c = [0, 1, 2].map((n) => chunkOf(n))
  const quota = c[0]!.stored.length + c[1]!.stored.length
  const policy = { uploaders: [{ key: keyName(alice), name: 'alice', quota }] }
  const h = await hub({ policy })
  const put = (call: ReturnType<typeof hubCall>, n: number) => call('PUT', `/objects/${c[n]!.id}`, c[n]!.stored)
  await assert.rejects(put(h.call, 0), { code: 'not-authorized' })
  await assert.rejects(put(h.as(mallory), 0), { code: 'not-authorized' })
  await assert.rejects(h.call('PUT', `/specs/${sha256Hex(c[0]!.stored)}`, c[0]!.stored), { code: 'not-authorized' })
  assert.equal((await put(h.as(alice), 0)).status, 201)
  assert.equal((await put(h.as(alice), 0)).status, 201, 'the same again costs nothing')
  assert.equal((await put(h.as(alice), 1)).status, 201)
  await assert.rejects(h.call('POST', '/objects', encodeObjects([c[0]!])), { code: 'not-authorized' })
  assert.equal((await h.as(alice)('POST', '/objects', encodeObjects([c[0]!, c[1]!]))).status, 201)
  await assert.rejects(h.as(alice)('POST', '/objects', encodeObjects([c[0]!, c[2]!])), { code: 'over-quota' })
  await assert.rejects(put(h.as(alice), 2), { code: 'over-quota', message: /"alice" has 0 of \d+ bytes left/ })
  await assert.rejects(h.as(alice)('PUT', `/objects/${sha256Hex()}`, c[2]!.stored), { code: /over-quota|bad-object/ })
  await h.as(alice)('POST', '/flush')
  const again = await hub({ policy, dir: h.dir })
  await assert.rejects(put(again.as(alice), 2), { code: 'over-quota' }, 'what was used is remembered')
  const request = { method: 'PUT', path: `/objects/${c[0]!.id}`, body: c[0]!.stored }
  const now = Math.floor(Date.now() / 1000)
  for (const authorization of [
    signRequest(alice, request, now - 400),
    signRequest(alice, request, now + 400),
    signRequest(alice, { ...request, path: `/objects/${c[1]!.id}` }),
    signRequest(alice, { ...request, body: Buffer.from('other') }),
    signRequest(mallory, request).replace(keyName(mallory), keyName(alice)),
    'ZOS1 junk',
  ])
    await assert.rejects(put(hubCall(h.place, 'test', { headers: { authorization } }), 0), { code: 'not-authorized' })
})

test('a private object is its owner’s, and whoever’s they granted it to; to others there is none', async () => {
  const [owner, reader, other] = [newKey(), newKey(), newKey()]
  const h = await hub()
  const { id, stored } = chunkOf(7)
  const open = chunkOf(8)
  await h.call('PUT', `/objects/${open.id}`, open.stored)
  await assert.rejects(
    hubCall(h.place, 'test', { headers: { 'x-zos-domain': 'private' } })('PUT', `/objects/${id}`, stored),
    {
      code: 'not-authorized',
    },
  )
  await h.as(owner, { 'x-zos-domain': 'private' })('PUT', `/objects/${id}`, stored)
  const soon = Math.floor(Date.now() / 1000) + 100
  const grant = (more: object, by = owner) => ({
    'x-zos-grant': signGrant(by, { reader: keyName(reader), id: '*', until: soon, ...more }),
  })
  const sees = async (call: ReturnType<typeof hubCall>) => {
    const got = (await call('GET', `/objects/${id}`)).status === 200
    const has = (await call('HEAD', `/objects/${id}`)).status === 200
    const lacks = json((await call('POST', '/missing', { ids: [id, open.id] })).body).missing.includes(id)
    const batched = (await call('POST', '/batch', { ids: [id] })).body.length > 4
    const listed = (await call('GET', '/objects')).body.includes(id)
    assert.deepEqual([has, !lacks, batched, listed], [got, got, got, got], 'every way tells the same')
    return got
  }
  assert.equal(await sees(h.as(owner)), true)
  assert.equal(await sees(h.call), false)
  assert.equal(await sees(h.as(other)), false)
  assert.equal(await sees(h.as(reader)), false)
  assert.equal(await sees(h.as(reader, grant({}))), true)
  assert.equal(await sees(h.as(reader, grant({ id }))), true)
  assert.equal(await sees(h.as(reader, grant({ id: open.id }))), false)
  assert.equal(await sees(h.as(reader, grant({ until: soon - 200 }))), false)
  assert.equal(await sees(h.as(other, grant({}))), false, 'a grant that was stolen')
  assert.equal(await sees(h.as(reader, grant({}, other))), false, 'a grant by somebody else')
  const again = await hub({ dir: h.dir })
  assert.equal(await sees(again.call), false, 'after a restart as well')
  await h.call('PUT', `/objects/${id}`, stored)
  assert.equal(await sees(h.call), true, 'whoever has the bytes may publish them')
})

test('ranges, batches, an upload that goes on where it ended, and what is counted', async () => {
  const h = await hub()
  const chunks = Array.from({ length: 40 }, (_, n) => chunkOf(n))
  const ids = chunks.map((c) => c.id)
  const lacking = async () => json((await h.call('POST', '/missing', { ids })).body).missing as string[]
  for (const c of chunks.slice(0, 25)) await h.call('PUT', `/objects/${c.id}`, c.stored)
  assert.deepEqual(await lacking(), ids.slice(25), 'a second try sends the rest alone')
  for (const c of chunks.slice(25, 39)) await h.call('PUT', `/objects/${c.id}`, c.stored)
  const { body } = await h.call('POST', '/batch', { ids })
  let at = 0
  for (const c of chunks) {
    const length = body.readUInt32BE(at)
    at += 4
    if (c === chunks[39]) assert.equal(length, 0xffffffff, 'absent')
    else assert.deepEqual(body.subarray(at, at + length), c.stored)
    if (c !== chunks[39]) at += length
  }
  assert.equal(at, body.length)
  const { id, stored } = chunks[3]!
  const url = `http://127.0.0.1:${(h.place as { port: number }).port}/objects/${id}`
  const ranged = async (range: string) => {
    const r = await fetch(url, { headers: { range } })
    return [r.status, r.headers.get('content-range'), Buffer.from(await r.arrayBuffer())] as const
  }
  const n = stored.length
  assert.deepEqual(await ranged('bytes=2-5'), [206, `bytes 2-5/${n}`, stored.subarray(2, 6)])
  assert.deepEqual(await ranged('bytes=4-'), [206, `bytes 4-${n - 1}/${n}`, stored.subarray(4)])
  assert.deepEqual(await ranged('bytes=-3'), [206, `bytes ${n - 3}-${n - 1}/${n}`, stored.subarray(n - 3)])
  assert.equal((await ranged(`bytes=${n}-`))[0], 416)
  for (const odd of ['bytes=1-2,4-5', 'bytes=-', 'lines=1-2', 'bytes=5-2x'])
    assert.equal((await ranged(odd))[0], 200, odd)
  const text = (await h.call('GET', '/metrics')).body.toString()
  assert.match(text, /zos_hub_requests_total\{route="PUT \/objects\/:id",status="201"\} 39/)
  assert.match(text, /# TYPE zos_hub_sent_bytes_total counter/)
})

test('hostile clients are bounded: slow, huge, many, and not speaking the language', { timeout: 180_000 }, async () => {
  const h = await hub()
  const { port } = h.place as { port: number }
  const sockets: Socket[] = []
  after(() => {
    for (const s of sockets) s.destroy()
  })
  const ended = (begin: string) =>
    new Promise<string>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => begin && socket.write(begin))
      let said = ''
      sockets.push(socket)
      socket.on('error', () => {}).on('data', (d) => (said += d))
      socket.on('close', () => resolve(said))
    })
  const slow = Array.from({ length: 60 }, (_, n) => ended(n % 2 ? '' : 'PUT /objects/x HTTP/1.1\r\nHost: hub\r\n'))
  const id = sha256Hex()
  const head = (length: number) => `PUT /objects/${id} HTTP/1.1\r\nHost: hub\r\nContent-Length: ${length}\r\n\r\n`
  assert.match(await ended(head(1e12)), /413[\s\S]*body-too-large/, 'refused before a byte of it is read')
  assert.match(await ended('nonsense\r\n\r\n'), /400/)
  assert.equal((await h.call('HEAD', `/objects/${id}`)).status, 404, 'others are served')
  for (const ids of [[id, 'x'], Array(20_000).fill(id), 'x', null, { a: 1 }])
    for (const path of ['/missing', '/batch'])
      await assert.rejects(h.call('POST', path, { ids }), { code: /bad-id|bad-request|body-too-large/ })
  await assert.rejects(h.call('POST', '/missing', Buffer.from('{')), { code: 'bad-request' })
  await assert.rejects(h.call('GET', `/${'../'.repeat(20)}etc/passwd`), { code: /no-such-call|bad-id/ })
  await Promise.all(slow)
  assert.equal((await h.call('HEAD', `/objects/${id}`)).status, 404)
})

test('whoever does not fetch what was answered loses the connection, and others their place no longer', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-hub-'))
  dirs.push(dir)
  const server = await serveHub({ at: dir, port: 0, unread: 500 })
  servers.push(server)
  const { port } = server.address() as AddressInfo
  // more than the kernel holds for both ends
  const stored = seal('blob', randomBytes(16 << 20))
  const id = sha256Hex(stored.subarray(1))
  const call = hubCall({ host: '127.0.0.1', port }, 'test')
  await call('PUT', `/objects/${id}`, stored)
  const lazy = connect({ port, host: '127.0.0.1' })
  lazy.on('error', () => {}).write(`GET /objects/${id} HTTP/1.1\r\nHost: hub\r\n\r\n`)
  const [its] = (await once(server, 'connection')) as [Socket]
  await until('its connection to be ended', 10_000, () => its.destroyed)
  lazy.destroy()
  assert.equal((await call('GET', `/objects/${id}`)).body.length, stored.length)
})
