import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { permissions } from '#sys'
import { Daemon } from './daemon.ts'

test('the thread that reads what peers and machines send has no node:ffi, files, programs or sockets of Node', async () => {
  assert.ok(permissions().includes('ffi'), 'this one has')
  await using daemon = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [] })
  const status = await daemon.status()
  assert.deepEqual(status.permissions, [])
})
