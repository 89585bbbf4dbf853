import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { confinable, permissions, run } from '#sys'
import { Daemon } from './daemon.ts'

test('the thread that reads what peers and machines send has no node:ffi, files, programs or sockets of Node', async () => {
  assert.ok(permissions().includes('ffi'), 'this one has')
  await using daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
  const status = await daemon.status()
  assert.deepEqual(status.permissions, [])
})

/** What takes apart bytes that others made. */
const DECODERS = [
  ...['daemon/connection', 'daemon/read-beacon', 'daemon/private-network', 'wire/control', 'wire/icmp'],
  ...['session/handshake', 'streams/decode', 'messages/decode', 'nic/dns', 'nic/announcement', 'nic/translate'],
]

test('the main thread needs no node:ffi once the others are there, and loads nothing that takes apart what is sent', async () => {
  const fixture = join(import.meta.dirname, 'loaded.fixture.ts')
  const args = ['--no-warnings', ...confinable('*'), fixture]
  const { stdout } = await run(process.execPath, args, { timeout: 60_000 })
  const said = JSON.parse(stdout.toString()) as { loaded: string[]; streamed: string; message: string; left: string[] }
  assert.deepEqual([said.streamed, said.message], ['a word', 'a message'], 'all of it was taken apart somewhere')
  assert.deepEqual(said.left, ['fs', 'net'])
  const isLoaded = (name: string) => said.loaded.some((url) => url.endsWith(`/mycelium/${name}.ts`))
  assert.deepEqual(['streams/streams', 'messages/messages', 'daemon/discovery'].map(isLoaded), [true, true, true])
  assert.deepEqual(DECODERS.filter(isLoaded), [])
  for (const name of DECODERS) assert.ok(existsSync(join(import.meta.dirname, '..', `${name}.ts`)), name)
})
