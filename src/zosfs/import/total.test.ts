import assert from 'node:assert/strict'
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { sha256Hex } from '#codec'
import { noise } from '../disk/fixture.ts'
import { ociLayout, tar } from './fixture_image.ts'
import { pullImage } from './pull.ts'
import { type Image, parseSource } from './source.ts'
import { bytesOfFolder, bytesOfImage } from './total.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-total-'))
after(() => rmSync(root, { recursive: true }))
const { signal } = new AbortController()

const layout = join(root, 'layout')
const LAYERS = [tar([{ name: 'large', data: noise(2_000_000, 1) }]), tar([{ name: 'small', data: noise(9000, 2) }])]
ociLayout(layout, LAYERS, { compress: (bytes) => bytes, mediaType: 'application/vnd.oci.image.layer.v1.tar' })
const blob = (digest: string) => readFileSync(join(layout, 'blobs', digest.replace(':', '/')))
const [descriptor] = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests as [{ digest: string }]
const manifest = JSON.parse(String(blob(descriptor.digest))) as Record<'config', { size: number }>
const TOTAL = manifest.config.size + LAYERS.reduce((sum, { length }) => sum + length, 0)

/** A registry whose tag names an image for two architectures; SEND answers with the large layer. */
async function registry(send: (answer: ServerResponse, bytes: Buffer) => void) {
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        { ...descriptor, digest: `sha256:${'1'.repeat(64)}`, platform: { os: 'linux', architecture: 's390x' } },
        { ...descriptor, platform: { os: 'linux', architecture: 'amd64' } },
      ],
    }),
  )
  const asked: string[] = []
  const server = createServer((request, answer) => {
    const [, name = ''] = /\/v2\/a\/b\/\w+\/(.+)$/.exec(request.url ?? '') ?? []
    if (request.url === '/v2/') return answer.end('{}')
    asked.push(`${request.method} ${name}`)
    const bytes = name.startsWith('sha256:') ? blob(name) : index
    const type =
      bytes === index ? 'application/vnd.oci.image.index.v1+json' : 'application/vnd.oci.image.manifest.v1+json'
    answer.writeHead(200, {
      'content-length': bytes.length,
      'content-type': type,
      'docker-content-digest': `sha256:${sha256Hex(bytes)}`,
    })
    if (request.method === 'HEAD') return answer.end()
    return bytes.length < 1 << 20 ? answer.end(bytes) : send(answer, bytes)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const source = parseSource(`docker://127.0.0.1:${(server.address() as AddressInfo).port}/a/b:1`) as Image
  return {
    asked,
    source,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

test('the bytes of an image are known from its manifest, also where a tag names several; not where asking costs too much', async () => {
  await using at = await registry((answer, bytes) => void answer.end(bytes))
  assert.equal(await bytesOfImage(at.source, 'amd64', signal), TOTAL)
  assert.equal(await bytesOfImage(at.source, 'arm64', signal), undefined)
  assert.equal(await bytesOfImage(parseSource(`oci:${layout}:x`) as Image, 'amd64', signal), TOTAL)
  const archive = parseSource('docker-archive:/a.tar') as Image
  assert.equal(await bytesOfImage(archive, 'amd64', signal), undefined)
  const none = { ...at.source, name: at.source.name.replace(/:\d+\//, ':1/') }
  assert.equal(await bytesOfImage(none, 'amd64', signal), undefined)
})

test('a pull tells how much of how much is there, in the middle of a blob too; what is short is not asked for its total', async () => {
  const half = Promise.withResolvers<void>()
  await using at = await registry((answer, bytes) => {
    answer.write(bytes.subarray(0, 1_000_000))
    half.promise.then(() => answer.end(bytes.subarray(1_000_000)))
  })
  const seen: [bytes: number, total: number | undefined][] = []
  const to = join(root, 'pulled')
  // what a killed pull left: a whole blob is not fetched again, half of one is of no use
  mkdirSync(join(to, 'blobs/sha256'), { recursive: true })
  writeFileSync(join(to, 'blobs/sha256', sha256Hex(LAYERS[1]!)), LAYERS[1]!)
  writeFileSync(join(to, 'oci-put-blob123'), 'half')
  await pullImage(at.source, to, {
    architecture: 'amd64',
    askAfter: 0,
    onBytes: (bytes, total) => {
      seen.push([bytes, total])
      if (total !== undefined && bytes > 500_000) half.resolve()
    },
  })
  const [bytes, total] = seen.findLast(([, total]) => total !== undefined)!
  assert.equal(total, TOTAL - LAYERS[1]!.length)
  assert.ok(bytes > 500_000 && bytes < 2_010_000, `${bytes}`)
  assert.deepEqual(
    readdirSync(to).filter((name) => name.startsWith('oci-put-blob')),
    [],
  )
  const small = `sha256:${sha256Hex(LAYERS[1]!)}`
  assert.ok(!at.asked.includes(`GET ${small}`), at.asked.join())

  const before = at.asked.filter((what) => what === 'GET 1').length
  await pullImage(at.source, join(root, 'again'), { architecture: 'amd64', askAfter: 600_000 })
  // one for the image, one for its config as its source has it
  assert.deepEqual([before, at.asked.filter((what) => what === 'GET 1').length - before], [3, 2])
})

test('the bytes of a folder are those of its files, each counted once; none where it cannot be walked', async () => {
  const dir = join(root, 'folder')
  mkdirSync(join(dir, 'sub'), { recursive: true })
  writeFileSync(join(dir, 'a'), noise(5000, 1))
  linkSync(join(dir, 'a'), join(dir, 'sub/same'))
  symlinkSync('/etc/passwd', join(dir, 'sub/link'))
  writeFileSync(Buffer.from(`${dir}/sub/\xff`, 'latin1'), 'xyz')
  assert.equal(await bytesOfFolder(dir, signal), 5003)
  assert.equal(await bytesOfFolder(join(dir, 'none'), signal), undefined)
  assert.equal(await bytesOfFolder(dir, AbortSignal.abort()), undefined)
})
