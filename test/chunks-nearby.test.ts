import assert from 'node:assert/strict'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { callUnix } from '#sys'
import { startGrid } from './grid.ts'
import { until } from './harness.ts'

const skip = process.env.ZOS_NIGHTLY ? false : 'half a minute: ZOS_NIGHTLY=1 runs it'

type Near = { near: { given: number; lied: number } }

// private: then the other node is given it by the group's word alone
test('a node takes what another node has from it: an image runs on, though the hub has lost every byte of it', {
  skip,
}, async () => {
  using grid = await startGrid(2)
  const { z, spec, second, runs, page } = grid
  z('deploy', spec('web', ['private: true', 'ports: [80]', 'nodes: [node1]']), '--as', 'alice')
  second()
  await runs('web')
  const hub = join(grid.node.home, 'grid/hub')
  const shards = readdirSync(hub).filter((name) => /^[0-9a-f]{2}$/.test(name))
  assert.ok(shards.length > 0, `no chunks in ${readdirSync(hub).join(' ')}`)
  for (const shard of shards) rmSync(join(hub, shard), { recursive: true })
  assert.ok(!existsSync(join(hub, shards[0]!)))
  z('migrate', 'web/0', '--to', 'node2', '--as', 'alice')
  second()
  await until('it to run on node2', 120, async () => {
    const { slots } = await grid.status('web')
    return slots.some((s) => s.node === 'node2' && s.state === 'running')
  })
  assert.equal(await page('web/0'), 'hello from a node\n')
  const { near } = await callUnix<Near>(join(grid.run('node2'), 'network.sock'), 'GET', '/ping')
  assert.ok(near.given > 0 && near.lied === 0, JSON.stringify(near))
})
