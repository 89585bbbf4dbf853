// A node killed whole at any moment of an update comes to what was agreed on, once. At each call: src/node/provision/slots.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { callUnix } from '../src/sys/index.ts'
import { PAGE, startGrid } from './grid.ts'
import { until } from './harness.ts'

/** Kills, each a little later after the approval than the one before. */
const KILLS = 40
/** Milliseconds within which an update is carried out here. */
const SPAN = 4000

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'takes minutes: ZOS_NIGHTLY=1' }

type Row = { name: string; state: string }

test(`${KILLS} updates, the node killed at another moment of each`, nightly, async () => {
  using grid = await startGrid(1)
  const { z, spec, second, runs, nodes } = grid
  const rows = () => callUnix<Row[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/workloads')
  const volume = 'volumes: [{ name: data, path: /data, size: 16m }]'
  z('deploy', spec('web', [volume, 'env: { N: first }']), '--as', 'alice')
  second()
  await runs('web', 1)
  for (let n = 1; n <= KILLS; n++) {
    z('deploy', spec('web', [volume, `env: { N: n${n} }`]), '--as', 'alice')
    const [node] = nodes()
    second()
    await new Promise((r) => setTimeout(r, (SPAN * n) / KILLS))
    for (const pid of [node!.pid, ...Object.values(node!.pids)]) process.kill(pid, 'SIGKILL')
    z('grid', 'up')
    await runs('web', n + 1)
    await until('only the new version to be there', 30, async () => (await rows()).length === 1)
    assert.equal((await rows())[0]!.state, 'running')
    assert.equal(await grid.page('web/0'), PAGE)
    const volumes = await callUnix<unknown[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/volumes')
    assert.equal(volumes.length, 1, 'its data is there')
  }
})
