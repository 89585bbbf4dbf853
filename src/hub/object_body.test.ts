import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { type ChunkBackend, dirBackend, hubCall, seal } from '#cas'
import { sha256Hex } from '#codec'
import { until } from '#sys'
import { objectReply } from './object_body.ts'
import { serveHub } from './server.ts'

const stored = seal('blob', randomBytes(16 << 20))
const id = sha256Hex(stored.subarray(1))
const READERS = 12

test('slow readers of a large object cost no memory each, and no open file once they are gone', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-hub-'))
  const server = await serveHub({ at: dir, port: 0 })
  try {
    const { port } = server.address() as AddressInfo
    const call = hubCall({ host: '127.0.0.1', port }, 'test')
    await call('PUT', `/objects/${id}`, stored)
    assert.deepEqual((await call('GET', `/objects/${id}`)).body, stored)
    const files = async () => (await readdir('/proc/self/fd')).length
    const [before, openBefore] = [process.memoryUsage().arrayBuffers, await files()]
    const lazy: Socket[] = []
    for (let n = 0; n < READERS; n++) {
      const socket = connect({ port, host: '127.0.0.1' })
      lazy.push(socket.on('error', () => {}))
      const accepted = once(server, 'connection')
      socket.write(`GET /objects/${id} HTTP/1.1\r\nHost: hub\r\n\r\n`)
      const [its] = (await accepted) as [Socket]
      await until('its answer to begin', 10_000, () => its.bytesWritten > 100_000)
    }
    const grown = process.memoryUsage().arrayBuffers - before
    assert.ok(grown < stored.length, `${grown} bytes more for ${READERS} readers`)
    for (const socket of lazy) socket.destroy()
    await until('their files to be closed', 10_000, async () => (await files()) <= openBefore)
    call.close()
  } finally {
    server.close()
    server.closeAllConnections()
    await rm(dir, { recursive: true })
  }
})

test('what a bucket gives is held within the budget, and given back when the answer is over', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-hub-'))
  try {
    const { file: _, ...whole } = dirBackend(dir, { temporary: join(dir, 'tmp') })
    const bucket: ChunkBackend = whole
    await bucket.put(id, stored)
    const budget = { left: stored.length * 2 - 1 }
    const find = <T>(act: () => Promise<T>) => act()
    const ask = (range?: string) => objectReply(bucket, id, { range, budget, find })
    const first = await ask('bytes=1-3')
    assert.deepEqual([first.status, first.body], [206, stored.subarray(1, 4)])
    await assert.rejects(ask(), { code: 'busy' })
    first.release?.()
    const second = await ask()
    assert.deepEqual([second.status, second.body], [200, stored])
    second.release?.()
    assert.equal(budget.left, stored.length * 2 - 1)
  } finally {
    await rm(dir, { recursive: true })
  }
})
