import assert from 'node:assert/strict'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { serveHub } from '#hub'
import { backendConformance } from './conformance.ts'
import { httpBackend, parseHttpPlace } from './http_backend.ts'

const dirs: string[] = []
const servers: Server[] = []
after(async () => {
  for (const s of servers) {
    s.close()
    s.closeAllConnections()
  }
  for (const d of dirs) await rm(d, { recursive: true, force: true })
})

// the suite's objects are no chunks, and it deletes: a hub for others allows neither
backendConformance('http', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-http-'))
  dirs.push(dir, `${dir}-gone`)
  const server = await serveHub({ at: dir, port: 0, check: () => undefined, deletes: true })
  servers.push(server)
  return {
    backend: httpBackend({ host: '127.0.0.1', port: (server.address() as AddressInfo).port }, 'test'),
    takeAway: async () => {
      server.close()
      server.closeAllConnections()
      await rename(dir, `${dir}-gone`)
    },
  }
})

test('the address of a hub is a host and port, or a unix socket; anything else is none', () => {
  assert.deepEqual(parseHttpPlace('http://127.0.0.1:80'), { host: '127.0.0.1', port: 80 })
  assert.deepEqual(parseHttpPlace('http://[::1]:8080/'), { host: '::1', port: 8080 })
  assert.deepEqual(parseHttpPlace('http+unix:/run/a/network.sock'), { socketPath: '/run/a/network.sock' })
  for (const bad of ['https://x', 'http://x/path', 'dir:/x', 'http+unix:relative', ''])
    assert.equal(parseHttpPlace(bad), undefined, bad)
})
