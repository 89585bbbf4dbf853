import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLibrary, publish, reachable } from '#zosfs'
import { nearNodes } from '../network/near.ts'
import { CHUNKS_SOCKET } from '../network/place.ts'
import { serveChunks } from './chunks.ts'
import { openPlane } from './plane.ts'

const from = (letter: string) => ({ address: Buffer.alloc(16), publicKey: letter.repeat(64) })
const [NEIGHBOUR, OTHER] = ['a', 'b'] as const

test('a node is given of images that are for all, and of those for its own group: nothing else, though it knows the id', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-chunks-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rmSync(dir, { recursive: true, force: true }))
  const images: Record<string, { digest: string; ids: string[] }> = {}
  {
    await using library = openLibrary({ home: dir })
    for (const name of ['open', 'private', 'nobody']) {
      const tree = join(dir, name)
      mkdirSync(tree)
      for (let n = 0; n < 5; n++) writeFileSync(join(tree, `f${n}`), Buffer.alloc(40_000, `${name} ${n} `))
      const { digest } = await publish(library, `dir:${tree}`, name)
      images[name] = { digest, ids: await Array.fromAsync(reachable(library.store, digest)) }
    }
  }
  const plane = stack.use(openPlane({ home: dir, log: () => {} }))
  const server = await serveChunks(join(dir, CHUNKS_SOCKET), plane.library.store, plane.images)
  stack.defer(() => void server.close())
  const near = nearNodes()
  near.set(
    [NEIGHBOUR.repeat(64), OTHER.repeat(64)],
    [{ digest: images.open!.digest }, { digest: images.private!.digest, to: [NEIGHBOUR.repeat(64)] }],
  )
  const get = (id: string, createConnection: () => Socket) =>
    new Promise<number>((resolve, reject) => {
      const req = request({ createConnection, host: 'node', path: `/objects/${id}` }, (res) => {
        res.resume().on('end', () => resolve(res.statusCode!))
      })
      req.on('error', reject)
      req.end()
    })
  const as = (who: string) => () => near.service(dir)(from(who)) as Socket
  /** How many of an image's objects are given: all but its fingerprints, which no start needs. */
  const given = async (name: string, who: string) => {
    const all = await Promise.all(images[name]!.ids.map((id) => get(id, as(who))))
    return all.filter((status) => status === 200).length - (all.length - 1)
  }
  for (const who of [NEIGHBOUR, OTHER]) assert.equal(await given('open', who), 0)
  assert.equal(await given('private', NEIGHBOUR), 0)
  const none = (name: string) => 1 - images[name]!.ids.length
  assert.ok(none('private') < -3)
  assert.equal(await given('private', OTHER), none('private'))
  assert.equal(await given('nobody', NEIGHBOUR), none('nobody'))

  // whoever does not say for whom is given nothing
  const raw = (line: string | Buffer) => () => {
    const socket = connect(join(dir, CHUNKS_SOCKET))
    socket.write(line)
    return socket
  }
  const { digest } = images.open!
  assert.equal(await get(digest, raw(`${digest}\n`)), 200)
  assert.equal(await get(digest, raw('\n')), 404)
  await assert.rejects(get(digest, raw(Buffer.alloc(100_000, 'a'))))
  t.diagnostic(`${images.open!.ids.length} objects`)
})
