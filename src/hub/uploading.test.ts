import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { chunkIdOf, collect, dirBackend, encodeObjects, hubCall, leafHashes, openStore, seal } from '#cas'
import { until } from '#sys'
import { serveHub } from './server.ts'

const top = mkdtempSync(join(tmpdir(), 'zos-uploading-'))
const servers: Server[] = []
after(() => {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
  rmSync(top, { recursive: true, force: true })
})

function chunkOf(n: number) {
  const chunk = Buffer.alloc(4096, n)
  return { id: chunkIdOf(leafHashes(chunk)).toString('hex'), stored: seal('chunk', chunk) }
}

/** Long enough for a step of the test on loaded cores. Milliseconds. */
const QUIET = 4000

describe('an upload over HTTP', { concurrency: true }, () => {
  for (const [how, { bring, claim }] of Object.entries({
    'one by one': {
      bring: (call: ReturnType<typeof hubCall>, c: ReturnType<typeof chunkOf>) =>
        call('PUT', `/objects/${c.id}`, c.stored),
      claim: (call: ReturnType<typeof hubCall>, id: string) => call('POST', `/objects/${id}/touch`),
    },
    'many at once': {
      bring: (call: ReturnType<typeof hubCall>, c: ReturnType<typeof chunkOf>) =>
        call('POST', '/objects', encodeObjects([c])),
      claim: (call: ReturnType<typeof hubCall>, id: string) => call('POST', '/missing', { ids: [id] }),
    },
  })) {
    test(`a collection without grace spares what an upload that goes on brought and relies on: ${how}`, async () => {
      const dir = mkdtempSync(join(top, 'hub-'))
      const server = await serveHub({ at: dir, port: 0, quiet: QUIET })
      servers.push(server)
      const place = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
      const backend = dirBackend(dir, { temporary: join(dir, 'tmp') })
      await using store = openStore({ dir: join(dir, '../cas'), hub: backend })
      const [old, stray, fresh] = [chunkOf(1), chunkOf(2), chunkOf(3)]
      for (const { id, stored } of [old, stray]) {
        await backend.put(id, stored)
        const long = Date.now() / 1000 - 100 * 3600
        utimesSync(join(dir, id.slice(0, 2), id.slice(2)), long, long)
      }
      const call = hubCall(place, 'test')
      const kept = async () => {
        // what is written at this very millisecond is kept anyway
        await new Promise((r) => setTimeout(r, 20))
        await collect(store, [], { backend, grace: 0 })
        return Promise.all([old, stray, fresh].map(({ id }) => backend.has(id)))
      }
      await claim(call, old.id)
      assert.deepEqual(await kept(), [true, false, false])
      await bring(call, fresh)
      assert.deepEqual(await kept(), [true, false, true])
      // to read is no upload, and another's upload does not make this one longer
      const other = hubCall(place, 'other')
      await until('its end', 60_000, async () => {
        await call('GET', `/objects/${old.id}`)
        await claim(other, stray.id)
        return (await kept()).every((there) => !there)
      })
      call.close()
      other.close()
      assert.equal(
        readdirSync(join(dir, 'tmp')).filter((name) => name.startsWith('writing-')).length,
        1,
        'the other one',
      )
      server.close()
      server.closeAllConnections()
      await until('its marker to go', 5000, () => readdirSync(join(dir, 'tmp')).length === 0)
    })
  }
})
