import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { dirBackend, type HubCall, hubCall } from '#cas'
import { serveHub } from '#hub'
import { openLibrary, publish, reachable } from '#zosfs'
import { type Context, getSpec, putSpec } from './context.ts'
import { uploadMissing } from './upload.ts'

test('an upload is few requests, goes on where it ended, and takes a good copy where this home has a damaged one', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-upload-'))
  const served = join(dir, 'served')
  const server = await serveHub({ at: served, port: 0 })
  try {
    const tree = join(dir, 'tree')
    mkdirSync(tree)
    const bytes = (n: number) => Buffer.alloc(40_000, `file ${n} `)
    for (let n = 0; n < 300; n++) writeFileSync(join(tree, `f${n}`), bytes(n))
    const home = join(dir, 'home')
    const source = join(dir, 'source')
    await using library = openLibrary({ home, hub: `dir:${source}` })
    const { digest } = await publish(library, `dir:${tree}`, 'tree')
    const ids = await Array.fromAsync(reachable(library.store, digest))
    assert.ok(ids.length > 300)
    const requests: string[] = []
    const hub = hubCall({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, 'served')
    const counted: HubCall = (method, path, body) => {
      requests.push(`${method} ${path.split('/')[1]}`)
      return hub(method, path, body)
    }
    const context = { hubs: [counted] } as unknown as Context

    // as if the first attempt had been broken off: some are there, and one copy of this home is damaged since
    const there = dirBackend(served, { temporary: join(served, 'tmp') })
    for (const id of ids.slice(0, 10)) await there.put(id, (await dirBackend(source, { temporary: dir }).get(id))!)
    const own = dirBackend(join(home, 'cas'), { temporary: join(dir, 'tmp') })
    const damaged = ids[20]!
    await own.put(damaged, Buffer.from('junk'))
    assert.ok(readdirSync(join(home, 'cas')).length > 0)

    assert.equal(await uploadMissing(context, library, digest), ids.length - 10)
    for (const id of ids) assert.ok(await there.has(id))
    assert.ok(requests.filter((r) => r === 'POST objects').length <= 10, requests.join())
    requests.length = 0
    assert.equal(await uploadMissing(context, library, digest), 0)
    assert.deepEqual(requests, ['POST missing', 'POST flush'])
    hub.close()
  } finally {
    server.close()
    server.closeAllConnections()
    rmSync(dir, { recursive: true })
  }
})

test('a hub that is down is named with its address, the reason and what starts it again', async () => {
  // a port that was free a moment ago
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await once(closed, 'close')
  const hub = hubCall({ host: '127.0.0.1', port }, `http://127.0.0.1:${port}`)
  const context = { hubs: [hub] } as unknown as Context
  const expected = {
    code: 'source-away',
    message: new RegExp(
      `^Reach the grid's hub "http://127.0.0.1:${port}": .*ECONNREFUSED.*; "zos grid status" .*"zos grid up" starts again`,
    ),
  }
  await assert.rejects(putSpec(context, Buffer.from('a')), expected)
  await assert.rejects(getSpec(context, `0x${'00'.repeat(32)}`), expected)
  hub.close()
})
