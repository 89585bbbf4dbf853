import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, dockerArchive, filesBelow, startNode } from './harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const LAYOUT = join(node.work, 'layout')
// a layer large enough to be cut in its middle, of what does not compress
const tree = busyboxTree(join(node.work, 'tree'), { large: randomBytes(12 << 20) })
const archive = dockerArchive(join(node.work, 'image.tar'), tree, { Cmd: ['true'] })
execFileSync('skopeo', ['copy', '--quiet', archive, `oci:${LAYOUT}:1`])

type Descriptor = { digest: string; mediaType: string }
const [manifest] = (JSON.parse(readFileSync(join(LAYOUT, 'index.json'), 'utf8')) as { manifests: Descriptor[] })
  .manifests as [Descriptor]
const blob = (digest: string) => join(LAYOUT, 'blobs/sha256', digest.replace('sha256:', ''))

/** A registry whose large blobs CUT answers; the rest is answered whole. */
async function registry(cut: (answer: ServerResponse, bytes: Buffer, from: number, nth: number) => void) {
  let large = 0
  const server = createServer((request, answer) => {
    const [, kind, name = ''] = /\/v2\/image\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? []
    const digest = kind === 'manifests' ? manifest.digest : name
    if (kind === undefined) return answer.end('{}')
    if (!/^sha256:[0-9a-f]{64}$/.test(digest) || !existsSync(blob(digest))) return answer.writeHead(404).end()
    const bytes = readFileSync(blob(digest))
    const type = kind === 'manifests' ? manifest.mediaType : 'application/octet-stream'
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const length = { 'content-length': bytes.length - from, 'content-type': type, 'docker-content-digest': digest }
    const range = from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}
    answer.writeHead(from > 0 ? 206 : 200, { ...length, ...range, 'accept-ranges': 'bytes' })
    if (request.method === 'HEAD') return answer.end()
    return bytes.length < 1 << 20 ? answer.end(bytes) : cut(answer, bytes, from, large++)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    source: `docker://${host}/image:1`,
    asked: () => large,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

/** Sends BYTES from FROM to TO and ends the connection. */
const cutAt = (answer: ServerResponse, bytes: Buffer, from: number, to: number) =>
  answer.write(bytes.subarray(from, to), () => answer.destroy())

const chunksLeft = () => (existsSync(node.hub) ? filesBelow(node.hub).length : 0)
const tags = () => (existsSync(join(node.hub, 'tags')) ? readdirSync(join(node.hub, 'tags')) : [])
const pullsLeft = () => readdirSync(join(node.home, 'tmp')).filter((name) => name.startsWith('pull-'))

test('a registry that always ends in the middle of a layer: one clear error, nothing left behind', async () => {
  await using at = await registry((answer, bytes, from) => cutAt(answer, bytes, from, Math.max(from + 1, 1 << 20)))
  const said = await node.zosLater(['publish', at.source, 'cut'], { timeout: 120 })
  assert.equal(said.code, 1)
  const lines = said.err.trimEnd().split('\n')
  assert.match(lines.at(-1)!, /^zos: .*127\.0\.0\.1.*/)
  assert.equal(lines.filter((line) => /error|zos: [A-Z]/i.test(line)).length, 1, said.err)
  assert.ok(at.asked() >= 1)
  assert.deepEqual([pullsLeft(), chunksLeft()], [[], 0])
  assert.deepEqual(tags(), [])
})

test('a registry that ends in the middle of a layer once: the image, or one error and then the image', async () => {
  await using at = await registry((answer, bytes, from, nth) =>
    nth === 0 ? cutAt(answer, bytes, 0, 7 << 20) : void answer.end(bytes.subarray(from)),
  )
  const first = await node.zosLater(['publish', at.source, 'image'], { timeout: 120 })
  if (first.code !== 0)
    assert.equal((await node.zosLater(['publish', at.source, 'image'], { timeout: 120 })).code, 0, first.err)
  assert.deepEqual(tags(), ['image'])
  assert.deepEqual(pullsLeft(), [])
  node.ok(['flist', 'verify', 'image'])
})

test('a registry that sends other bytes in the middle: refused, nothing left behind', async () => {
  const before = chunksLeft()
  await using at = await registry((answer, bytes, from) => {
    const other = Buffer.from(bytes)
    other[5 << 20]! ^= 1
    answer.end(other.subarray(from))
  })
  const said = await node.zosLater(['publish', at.source, 'other'], { timeout: 120 })
  assert.equal(said.code, 1)
  assert.match(said.err, /digest/i)
  assert.deepEqual([pullsLeft(), chunksLeft()], [[], before])
})

test('a Docker name with a digest is published at its first use, and not asked for again; another digest is refused', async () => {
  await using at = await registry((answer, bytes, from) => void answer.end(bytes.subarray(from)))
  const named = `${at.host}/image@${manifest.digest}`
  for (let i = 0; i < 2; i++) {
    const said = await node.zosLater(['run', '--rm', named, 'echo', 'ran'], { timeout: 300 })
    assert.deepEqual([said.code, said.text], [0, 'ran\n'], said.err)
  }
  assert.equal(at.asked(), 1)
  const other = `${at.host}/image@sha256:${'0'.repeat(64)}`
  const said = await node.zosLater(['run', '--rm', other, 'true'])
  assert.deepEqual([said.code, said.text], [125, ''])
  assert.match(said.err, /^zos: .*0{12}/m)
})
