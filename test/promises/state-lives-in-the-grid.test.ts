import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { callUnix } from '../../src/sys/index.ts'
import { PAGE, startGrid } from '../grid.ts'
import { until } from '../harness.ts'

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, j, second, spec, status, runs, nodes } = grid

/** Ends the node as a power cut would, and takes what it had on its disk but KEEP. */
function wipe(keep: string[]): void {
  const [node] = nodes()
  for (const pid of [node!.pid, ...Object.values(node!.pids)]) process.kill(pid, 'SIGKILL')
  z('grid', 'down')
  const home = grid.home('node1')
  for (const name of readdirSync(home)) if (!keep.includes(name)) rmSync(join(home, name), { recursive: true })
}

test('a node that lost everything but its identity runs what it should, from chain and hub alone', async () => {
  z('deploy', spec('web', ['env: { A: one }']), '--as', 'alice')
  second()
  await runs('web', 1)
  z('deploy', spec('web', ['env: { A: two }']), '--as', 'alice')
  second()
  await runs('web', 2)
  z('deploy', spec('gone'), '--as', 'alice')
  second()
  z('cancel', 'gone', '--as', 'alice')
  second()
  wipe(['node.json', 'identity'])
  z('grid', 'up')
  assert.equal(await grid.page('web/0'), PAGE)
  const workloads = await callUnix<{ state: string }[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/workloads')
  assert.deepEqual(
    workloads.map((w) => w.state),
    ['running'],
    'the last version, once, and nothing of what was cancelled',
  )
  assert.equal((await status('web')).version, 2)
})

test('a node that lost its identity is a new node: readers seal to it by consent, and it runs again', async () => {
  wipe([])
  z('grid', 'up')
  const known = j<{ id: number }[]>('node', 'ls')
  assert.deepEqual(
    known.map((n) => n.id),
    [1, 2],
  )
  z('migrate', 'web/0', '--to', '2', '--as', 'carol')
  second('alice')
  await until('it runs on the new one', 60, async () => {
    const [slot] = (await status('web')).slots
    return slot!.state === 'running'
  })
  assert.equal(await grid.page('web/0'), PAGE)
  assert.equal(j<{ used: { ram: number } }>('node', 'show', '2').used.ram, 64)
})
