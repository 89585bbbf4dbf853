import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server as HttpServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { sha256Hex } from '#codec'
import { serveHub } from '#hub'
import { openBucket, parseBucketPlace } from './bucket.ts'
import { chunkIdOf, leafHashes } from './chunk.ts'
import { backendConformance } from './conformance.ts'
import { hubCall } from './http_backend.ts'
import { s3Backend } from './s3_backend.ts'
import { seal } from './stored.ts'

type Server = { run(): Promise<{ port: number }>; httpServer: HttpServer }
type S3rver = new (options: object) => Server

/** A development dependency: undefined in a checkout whose packages are older than this test. */
const S3rver = (() => {
  try {
    return createRequire(import.meta.url)('@20minutes/s3rver') as S3rver
  } catch (error) {
    if ((error as { code?: string }).code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
})()
const skip = S3rver ? false : '@20minutes/s3rver is not installed: npm ci'

const dir = mkdtempSync(join(tmpdir(), 'zos-s3-'))
const env = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' }
const servers: Server[] = []
after(async () => {
  for (const s of servers) stop(s)
  rmSync(dir, { recursive: true, force: true })
})

const stop = ({ httpServer }: Server) => {
  httpServer.close()
  httpServer.closeAllConnections()
}

/** A bucket of its own on a server of its own: s3rver checks signatures as S3 does. */
async function bucket() {
  const directory = mkdtempSync(join(dir, 's'))
  const server = new S3rver!({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory,
    configureBuckets: [{ name: 'zos' }],
  })
  const { port } = await server.run()
  servers.push(server)
  return { endpoint: `http://127.0.0.1:${port}`, bucket: 'zos', prefix: 'grid/', server, directory }
}

/** Another S3 to try, with its credentials in the environment: `s3:https://HOST/BUCKET`, such as radosgw's. */
const real = process.env.ZOS_TEST_S3 ? parseBucketPlace(process.env.ZOS_TEST_S3) : undefined

if (real) {
  backendConformance('s3', async () => {
    const own = openBucket({ ...real, prefix: `${real.prefix}test-${process.pid}-${servers.length}/` })
    let now = own
    const takeAway = async () => {
      now = openBucket({ ...real, bucket: `${real.bucket}-is-not-there` })
    }
    const through = {
      ...own,
      get: (k: string) => now.get(k),
      used: (k: string) => now.used(k),
      list: (p: string) => now.list(p),
    }
    return { backend: s3Backend(through), takeAway }
  })
} else if (S3rver) {
  // S3 promises whole objects to readers while they are replaced; s3rver writes in place
  backendConformance(
    's3',
    async () => {
      const { server, directory, ...place } = await bucket()
      // the bucket is gone, not the server: its 404 must not pass for absence
      const takeAway = async () => rmSync(join(directory, 'zos'), { recursive: true })
      return { backend: s3Backend(openBucket(place, env)), takeAway }
    },
    { torn: true },
  )
}

test('a bucket: a prefix is listed, a wrong key is refused, a server that is gone is away', { skip }, async () => {
  const { server, directory, ...place } = await bucket()
  const b = openBucket(place, env)
  const ids = Array.from({ length: 25 }, (_, n) => n.toString(16).padStart(64, '0'))
  for (const id of ids) await b.put(`objects/${id}`, Buffer.from(id))
  await b.put('specs/x', Buffer.alloc(0))
  const listed: string[] = []
  for await (const { id } of s3Backend(b).list()) listed.push(id)
  assert.deepEqual(listed.sort(), ids)
  assert.deepEqual(await b.get('specs/x'), Buffer.alloc(0))
  const thief = openBucket(place, { ...env, AWS_SECRET_ACCESS_KEY: 'wrong' })
  await assert.rejects(thief.get(`objects/${ids[0]}`), { code: 'source-away', message: /SignatureDoesNotMatch/ })
  assert.throws(() => openBucket(place, {}), { code: 'no-credentials' })
  stop(server)
  await assert.rejects(b.get(`objects/${ids[0]}`), { code: 'source-away' })
})

test('a list goes on from page to page', async () => {
  // s3rver makes its page tokens with a cipher that OpenSSL 3 no longer has: the pages here are S3's, written down
  const page = (keys: string[], next: string) =>
    `<?xml version="1.0"?><ListBucketResult><IsTruncated>${next !== ''}</IsTruncated>${keys
      .map(
        (k) =>
          `<Contents><Key>${k}</Key><LastModified>2026-11-24T12:00:00.000Z</LastModified><Size>7</Size></Contents>`,
      )
      .join('\n')}${next && `<NextContinuationToken>${next}</NextContinuationToken>`}</ListBucketResult>`
  const httpServer = createServer((req, res) => {
    const token = new URL(req.url!, 'http://s3').searchParams.get('continuation-token')
    res.end(token === null ? page(['p/a', 'p/b'], 'dG9rZW4=') : token === 'dG9rZW4=' ? page(['p/c'], '') : '<Error/>')
  })
  servers.push({ httpServer } as Server)
  await new Promise<void>((done) => httpServer.listen(0, '127.0.0.1', done))
  const endpoint = `http://127.0.0.1:${(httpServer.address() as AddressInfo).port}`
  const found: unknown[] = []
  for await (const item of openBucket({ endpoint, bucket: 'zos', prefix: 'p/' }, env).list('')) found.push(item)
  const mtime = Date.parse('2026-11-24T12:00:00Z')
  assert.deepEqual(
    found,
    ['a', 'b', 'c'].map((key) => ({ key, bytes: 7, mtime })),
  )
})

test('a hub in a bucket keeps objects, specs and owners there, through a restart', { skip }, async () => {
  const { server: _, directory: __, ...place } = await bucket()
  Object.assign(process.env, env)
  const at = `s3:${place.endpoint}/zos/hub`
  const owner = generateKeyPairSync('ed25519').privateKey
  const chunk = Buffer.alloc(8192, 5)
  const id = chunkIdOf(leafHashes(chunk)).toString('hex')
  const stored = seal('chunk', chunk)
  const spec = Buffer.from('sealed')
  const started = async () => {
    const httpServer = await serveHub({ at, port: 0 })
    servers.push({ httpServer } as Server)
    return { host: '127.0.0.1', port: (httpServer.address() as AddressInfo).port }
  }
  const first = hubCall(await started(), 'test', { key: owner, headers: { 'x-zos-domain': 'private' } })
  assert.equal((await first('PUT', `/objects/${id}`, stored)).status, 201)
  assert.equal((await first('PUT', `/specs/${sha256Hex(spec)}`, spec)).status, 201)
  const again = await started()
  assert.equal((await hubCall(again, 'test')('GET', `/objects/${id}`)).status, 404, 'private still')
  assert.deepEqual((await hubCall(again, 'test', { key: owner })('GET', `/objects/${id}`)).body, stored)
  assert.deepEqual((await hubCall(again, 'test')('GET', `/specs/${sha256Hex(spec)}`)).body, spec)
})

test('the address of a bucket is an endpoint, a bucket and perhaps a prefix; anything else is none', () => {
  assert.deepEqual(parseBucketPlace('s3:http://127.0.0.1:9000/zos'), {
    endpoint: 'http://127.0.0.1:9000',
    bucket: 'zos',
    prefix: '',
  })
  assert.deepEqual(parseBucketPlace('s3:https://s3.example/zos/grid/one'), {
    endpoint: 'https://s3.example',
    bucket: 'zos',
    prefix: 'grid/one/',
  })
  for (const bad of ['s3:zos', 's3:ftp://h/b', 's3:http://h/', 's3:http://h/B', 'http://h/b', 's3:http://h/bb?x'])
    assert.equal(parseBucketPlace(bad), undefined, bad)
})
