import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { runBehind } from '../behind.ts'
import { type NodeView, startGrid } from '../grid.ts'
import { until } from '../harness.ts'
import { type Lie, rpcProxy } from '../lies.ts'
import { apart, seconds } from '../seconds.ts'

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'takes minutes: ZOS_NIGHTLY=1' }
/** What is agreed: 30 s after its last sign of life, seen every 5 s at both ends; and a start. Seconds. */
const AGREED = 60

const grid = await startGrid(2)
after(() => grid[Symbol.dispose]())
const { z, spec, second, status, runs, nodes } = grid

const nodeNamed = (name: string): NodeView => nodes().find((n) => n.name === name)!
const pidsOf = (n: NodeView): number[] => [n.pid, ...Object.values(n.pids)]

/** Its microVMs, by the run folder in their arguments. */
const machinesOf = (name: string): number[] =>
  readdirSync('/proc')
    .filter((p) => /^\d+$/.test(p))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        return line.startsWith('qemu') && line.includes(`${grid.run(name)}/`)
      } catch {
        return false
      }
    })

const wrote = (node: string, deployment: string) => seconds(grid.home(node), deployment)

const slots = async (name: string) => {
  const view = await status(name)
  return { primary: view.slots.find((s) => !s.standby)!, standby: view.slots.find((s) => s.standby) }
}

/** Seconds until the standby of NAME says that it runs. */
async function takeover(name: string): Promise<number> {
  const begun = performance.now()
  await until('the standby to take over', AGREED, async () => (await slots(name)).standby!.state === 'running')
  return (performance.now() - begun) / 1000
}

test('a node is killed: its fenced workload goes on at its standby, a keep workload in its own machine', async () => {
  z('deploy', spec('db', ['mode: fenced', 'standby: true', 'nodes: [node1]', 'env: { NAME: db }']), '--as', 'alice')
  second()
  z('deploy', spec('web', ['cpus: 0.5', 'nodes: [node1]', 'env: { NAME: web }']), '--as', 'alice')
  second()
  await runs('web')
  await until('the primary to run', 60, async () => (await slots('db')).primary.state === 'running')
  await until('the standby to say that it waits', 60, async () => (await slots('db')).standby!.state === 'stopped')
  await until('the primary to write', 60, () => wrote('node1', 'db').length > 0)
  const died = nodeNamed('node1')
  for (const pid of pidsOf(died)) process.kill(pid, 'SIGKILL')
  const killed = Math.ceil(Date.now() / 1000)
  const took = await takeover('db')
  assert.equal(await grid.page('db/0'), 'hello from a node\n')
  z('grid', 'up')
  await until('the node is back', 60, () => nodeNamed('node1').state === 'up')
  await until('the node to see that it was replaced', 60, async () => (await slots('db')).primary.state === 'stopped')
  // its machine was still there: nothing had told it to end but its own lease, and it kept what its program wrote
  await until('what it wrote while nobody was there', 30, () => (wrote('node1', 'db').at(-1) ?? 0) > killed)
  const [lost, won] = [wrote('node1', 'db'), wrote('node2', 'db')]
  apart(lost, won)
  assert.ok(lost.at(-1)! < won[0]!)
  await until('what the other wrote', 30, () => (wrote('node1', 'web').at(-1) ?? 0) > won[0]!)
  const alone = wrote('node1', 'web').filter((s) => s > killed && s <= won[0]!)
  assert.ok(alone.length > 0, 'the keep workload went on while nobody was there')
  assert.equal((await runs('web')).slots.length, 1)
  console.log(`taken over in ${took.toFixed(1)} s; ${won[0]! - lost.at(-1)!} s in which neither ran`)
})

test('a node is stopped with all its machines, and goes on later: the two never run at once', nightly, async () => {
  // back to the primary: a new step of the group lets it begin once the standby has stopped
  z(
    'deploy',
    spec('db', ['mode: fenced', 'standby: true', 'nodes: [node1]', 'env: { NAME: db, N: two }']),
    '--as',
    'alice',
  )
  second()
  await until('the primary to run', 120, async () => (await slots('db')).primary.state === 'running')
  const still = [...pidsOf(nodeNamed('node1')), ...machinesOf('node1')]
  for (const pid of still) process.kill(pid, 'SIGSTOP')
  await takeover('db')
  await new Promise((r) => setTimeout(r, 3000))
  for (const pid of still.reverse()) process.kill(pid, 'SIGCONT')
  await until('the node to see that it was replaced', 60, async () => (await slots('db')).primary.state === 'stopped')
  apart(wrote('node1', 'db'), wrote('node2', 'db'))
})

test('a node is cut off from the chain alone: its fenced workload stops and the standby goes on, its keep workload goes on', {
  ...nightly,
}, async () => {
  const truth: Lie = (_method, _params, answer) => answer
  let lie: Lie | 'stall' = truth
  const { rpc, hub } = grid.services()
  await using line = await rpcProxy(rpc[0]!, () => lie)
  const child = await runBehind(grid.home('node1'), line.url, hub[0]!)
  try {
    z(
      'deploy',
      spec('cut', ['cpus: 0.5', 'mode: fenced', 'standby: true', 'nodes: [node1]', 'env: { NAME: cut }']),
      '--as',
      'alice',
    )
    second()
    await until('the primary to run', 120, async () => (await slots('cut')).primary.state === 'running')
    const web = machinesOf('node1')
    lie = 'stall'
    const begun = Math.floor(Date.now() / 1000)
    const took = await takeover('cut')
    // it said so before its machine was there
    assert.equal(await grid.page('cut/0'), 'hello from a node\n')
    // it goes on being cut off, with all its planes at work
    await new Promise((r) => setTimeout(r, 5000))
    assert.equal(child.exitCode, null)
    const [lost, won] = [wrote('node1', 'cut'), wrote('node2', 'cut')]
    apart(lost, won)
    assert.ok(lost.at(-1)! >= begun && lost.at(-1)! < won[0]!, 'it ran on until its lease ended')
    assert.ok(wrote('node1', 'web').at(-1)! > won[0]!, 'the keep workload goes on')
    lie = truth
    await until(
      'the node to see that it was replaced',
      60,
      async () => (await slots('cut')).primary.state === 'stopped',
    )
    await new Promise((r) => setTimeout(r, 3000))
    apart(wrote('node1', 'cut'), wrote('node2', 'cut'))
    assert.equal((await runs('web')).slots.length, 1)
    assert.ok(
      machinesOf('node1').some((pid) => web.includes(pid)),
      'in the machine it had',
    )
    console.log(`taken over in ${took.toFixed(1)} s; ${won[0]! - lost.at(-1)!} s in which neither ran`)
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
})
