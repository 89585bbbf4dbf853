import assert from 'node:assert/strict'
import { readFileSync, readlinkSync } from 'node:fs'
import { after, test } from 'node:test'
import { callUnix } from '../../src/sys/index.ts'
import { PAGE, startGrid } from '../grid.ts'
import { until } from '../harness.ts'
import { networkSockets } from '../sockets.ts'

const root = { skip: process.getuid?.() !== 0 && 'looking into other namespaces needs root' }
/** Seconds without a network plane; ten minutes by night. */
const AWAY = process.env.ZOS_NIGHTLY ? 600 : 10

const grid = await startGrid(1)
after(() => grid[Symbol.dispose]())
const { z, second, spec, runs, nodes } = grid

type Bound = { digest: string; selfContained: boolean }
type Row = { name: string; state: string; reason: string; startedAt: string; restarts: number }
const row = async () => (await callUnix<Row[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/workloads'))[0]!

test('both have a network namespace of their own with nothing in it, and no socket but unix ones', root, async () => {
  z('deploy', spec('web'), '--as', 'alice')
  second()
  await runs('web')
  const { pids } = nodes()[0]!
  for (const plane of ['compute', 'storage'] as const) {
    const pid = pids[plane]
    assert.deepEqual(networkSockets(pid), [], `${plane} owns a socket`)
    assert.notEqual(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${pids.network}/ns/net`))
    assert.equal(readFileSync(`/proc/${pid}/net/route`, 'utf8').trim().split('\n').length, 1, `${plane} has a route`)
    assert.equal(readFileSync(`/proc/${pid}/net/if_inet6`, 'utf8'), '', `${plane} has an address`)
  }
})

/** Whether the node has all of the images that it runs; until then a first read of something waits for the network. */
const isWhole = async () => {
  const exports = await callUnix<Record<string, Bound>>(`${grid.run('node1')}/storage.sock`, 'GET', '/exports')
  return Object.values(exports).every(({ digest, selfContained }) => digest === '' || selfContained)
}

test(`${AWAY} s without a network plane cost nothing`, async () => {
  await until('its image to be on the node', 60, isWhole)
  const before = await row()
  const { network } = nodes()[0]!.pids
  process.kill(network, 'SIGSTOP')
  const end = Date.now() + AWAY * 1000
  while (Date.now() < end) {
    assert.equal(await grid.page('web/0'), PAGE)
    await new Promise((r) => setTimeout(r, AWAY * 100))
  }
  process.kill(network, 'SIGKILL')
  await until('another network plane', 30, () => {
    const [node] = nodes()
    return node!.state === 'up' && node!.pids.network !== network
  })
  assert.deepEqual(await row(), before)
})

test('each plane killed in turn, and all at once: the same workload in the same machine', async () => {
  const before = await row()
  const planes = ['provision', 'compute', 'storage', 'network'] as const
  for (const some of [...planes.map((p) => [p]), planes]) {
    const { pids } = nodes()[0]!
    for (const plane of some) process.kill(pids[plane], 'SIGKILL')
    await until(`the node to be up without its ${some.join(', ')}`, 60, () => {
      const [now] = nodes()
      return now!.state === 'up' && some.every((p) => now!.pids[p] !== pids[p])
    })
    // what takes a compute plane long to take up has a reason meanwhile
    await until('its machine to be taken up', 60, async () => (await row()).reason === '')
    assert.deepEqual(await row(), before)
    assert.equal(await grid.page('web/0'), PAGE)
  }
})
