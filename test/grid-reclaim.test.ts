// A farmer takes a slot back by the commands: notice that the group sees, then the slot; the node lets it go by itself.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { callUnix } from '../src/sys/index.ts'
import { startGrid } from './grid.ts'
import { until } from './harness.ts'

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, j, second, spec, status, runs, refused, nodes, node } = grid

type Pids = Record<'chain' | 'hub' | 'relay', { pid: number }>
const compute = <T>(path: string) => callUnix<T>(`${grid.run('node1')}/compute.sock`, 'GET', path)
/** Seven days and a minute, for whatever reads the clock by Date.now. */
const LATER = `--import=data:text/javascript,const%20n=Date.now;Date.now=()=>n()+${(7 * 86_400 + 60) * 1000}`

test('the group is told in status and log; after the notice the node stops it, keeps its data, and has its room free', async () => {
  z('deploy', spec('web', ['volumes: [{ name: data, path: /data, size: 16m }]']), '--as', 'alice')
  second()
  await runs('web', 1)
  assert.match(
    refused('node', 'reclaim', 'node1', '--as', 'alice'),
    /this key does not own farm "farm1" of node "node1"/,
  )
  assert.match(refused('node', 'reclaim', 'node1', '--slot', 'web/7'), /nothing of "web\/7" is booked on node "node1"/)
  z('node', 'state', 'node1', 'drain')
  assert.match(
    z('node', 'reclaim', 'node1', '--slot', 'web/0'),
    /team: web\/0 +its group has notice; yours from 20\S+Z on/,
  )
  const [told] = (await status('web')).slots
  assert.equal(told!.state, 'running')
  assert.match(told!.reason, /its farmer may take it back from 20\S+Z on: "zos migrate web\/0 --to NODE"/)
  assert.match(z('log', 'web'), /farmer gave notice of slot 0 on node1, until 20/)
  assert.match(z('node', 'reclaim', 'node1'), /its group has notice/, 'said again it changes nothing')

  // the chain alone is started again, a week later by its clock
  const before = j<Pids>('grid', 'status')
  const [running] = nodes()
  process.kill(before.chain.pid, 'SIGKILL')
  await until('the chain to end', 20, () => j<Pids>('grid', 'status').chain === null)
  assert.equal(node.zos(['grid', 'up'], { env: { NODE_OPTIONS: LATER }, timeout: 300 }).code, 0)
  const now = j<Pids>('grid', 'status')
  assert.notEqual(now.chain.pid, before.chain.pid)
  assert.deepEqual([now.hub, now.relay], [before.hub, before.relay], 'only what was missing')
  // a plane that is slow to answer makes a node "starting", and nothing else of it
  assert.deepEqual(await until('the node to be up', 30, () => nodes().find(({ state }) => state === 'up')), running)

  assert.match(z('node', 'reclaim', 'node1'), /team: web\/0 +taken back/)
  type Row = { state: string }
  await until('its processes to end', 60, async () =>
    (await compute<Row[]>('/workloads')).every((w) => w.state === 'exited'),
  )
  assert.equal((await compute<unknown[]>('/volumes')).length, 1)
  assert.equal(j<{ used: { ram: number } }>('node', 'show', 'node1').used.ram, 0)
  const [gone] = (await status('web')).slots
  assert.equal(gone!.state, 'released')
  assert.match(gone!.reason, /its farmer took it back after the notice; its data stays there for 30 days/)
  assert.match(z('log', 'web'), /farmer took back slot 0 on node1/)
  assert.match(z('node', 'reclaim', 'node1'), /nothing is booked on "node1"/)
})
