import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { callUnix } from '../../src/sys/index.ts'
import { PAGE, startGrid } from '../grid.ts'
import { until } from '../harness.ts'

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, j, second, spec, status, runs, refused, nodes } = grid

const workloads = () =>
  callUnix<{ name: string; state: string }[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/workloads')
const volumes = () => callUnix<{ name: string }[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/volumes')
const booked = () => j<{ used: { ram: number } }>('node', 'show', 'node1').used.ram

test('any one member stops it at once; processes end, disk and reservation stay', async () => {
  z('deploy', spec('web', ['volumes: [{ name: data, path: /data, size: 16m }]']), '--as', 'alice')
  second()
  await runs('web')
  const before = booked()
  z('freeze', 'web', '--as', 'carol')
  await until('its processes to end', 30, async () => (await workloads()).every((w) => w.state === 'exited'))
  assert.equal((await status('web')).state, 'frozen')
  assert.equal(booked(), before)
  assert.equal((await volumes()).length, 1)
})

test('a node that dies and comes back leaves it stopped', async () => {
  const [node] = nodes()
  for (const pid of [node!.pid, ...Object.values(node!.pids)]) process.kill(pid, 'SIGKILL')
  z('grid', 'up')
  await until('the node is back', 60, () => nodes()[0]!.state === 'up')
  await new Promise((r) => setTimeout(r, 3000))
  assert.deepEqual(
    (await workloads()).map((w) => w.state),
    ['exited'],
  )
})

test('one member cannot start it again, two can, and its data is there', async () => {
  z('thaw', 'web', '--as', 'carol')
  assert.equal((await status('web')).state, 'frozen')
  assert.match(refused('freeze', 'web', '--as', 'carol'), /used its one freeze/)
  second()
  await runs('web', 1)
  assert.equal(await grid.page('web/0'), PAGE)
  assert.equal((await workloads()).length, 1, 'the same workload, once')
})

test('what is cancelled keeps its data on the node, what is wiped leaves nothing there', async () => {
  z('cancel', 'web', '--as', 'alice')
  second()
  await until('its processes to end', 30, async () => (await workloads()).every((w) => w.state === 'exited'))
  assert.deepEqual([(await volumes()).length, booked()], [1, 0])
  z('wipe', 'web', '--as', 'alice')
  second()
  await until('nothing of it to be there', 30, async () => (await workloads()).length === 0)
  assert.deepEqual(await volumes(), [])
})
