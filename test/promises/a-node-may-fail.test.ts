import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type NodeView, startGrid } from '../grid.ts'
import { until } from '../harness.ts'

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'takes minutes: ZOS_NIGHTLY=1' }
/** What is agreed: 30 s after its last sign of life, seen every 5 s at both ends; and a start. Seconds. */
const AGREED = 60

const grid = startGrid(2)
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

/** What a workload wrote: records of 21 bytes of header, the length at 1, then the bytes. */
function written(log: string): string {
  const bytes = readFileSync(log)
  let text = ''
  for (let at = 0; at + 21 <= bytes.length; ) {
    const end = at + 21 + bytes.readUInt32LE(at + 1)
    text += bytes.toString('latin1', at + 21, end)
    at = end
  }
  return text
}

/** The seconds in which DEPLOYMENT ran on NODE, as its program wrote them. */
function seconds(node: string, deployment: string): number[] {
  const base = join(grid.home(node), 'workloads')
  const texts = readdirSync(base).flatMap((id) => {
    const { env } = JSON.parse(readFileSync(join(base, id, 'spec.json'), 'utf8')) as { env: string[] }
    return env.includes(`NAME=${deployment}`) ? [written(join(base, id, 'output.log'))] : []
  })
  return [...texts.join('').matchAll(/^(\d{10})$/gm)].map(([, s]) => Number(s))
}

const slots = async (name: string) => {
  const view = await status(name)
  return { primary: view.slots.find((s) => !s.standby)!, standby: view.slots.find((s) => s.standby) }
}

/** Seconds until the standby of "db" says that it runs. */
async function takeover(): Promise<number> {
  const begun = performance.now()
  await until('the standby to take over', AGREED, async () => (await slots('db')).standby!.state === 'running')
  return (performance.now() - begun) / 1000
}

/** The two ran one after the other: the last second of one lies before the first of the other's stretch. */
function apart(first: number[], then: number[]): void {
  assert.ok(first.length > 0 && then.length > 0, 'both ran')
  const both = first.filter((s) => s >= then[0]! && s <= then.at(-1)!)
  assert.deepEqual(both, [], 'no second in which both ran')
}

test('a node is killed: its fenced workload goes on at its standby, a keep workload in its own machine', async () => {
  z('deploy', spec('db', ['mode: fenced', 'standby: true', 'nodes: [node1]', 'env: { NAME: db }']), '--as', 'alice')
  second()
  z('deploy', spec('web', ['nodes: [node1]', 'env: { NAME: web }']), '--as', 'alice')
  second()
  await runs('web')
  await until('the primary to run', 60, async () => (await slots('db')).primary.state === 'running')
  assert.equal((await slots('db')).standby!.state, 'stopped')
  const died = nodeNamed('node1')
  for (const pid of pidsOf(died)) process.kill(pid, 'SIGKILL')
  const took = await takeover()
  assert.equal(await grid.page('db/0'), 'hello from a node\n')
  z('grid', 'up')
  await until('the node is back', 60, () => nodeNamed('node1').state === 'up')
  await until('the node to see that it was replaced', 60, async () => (await slots('db')).primary.state === 'stopped')
  // its machine was still there: nothing had told it to end but its own lease
  const [lost, won] = [seconds('node1', 'db'), seconds('node2', 'db')]
  apart(lost, won)
  assert.ok(lost.at(-1)! < won[0]!)
  const kept = seconds('node1', 'web')
  assert.ok(kept.at(-1)! > won[0]!, 'the keep workload went on while nobody was there')
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
  await takeover()
  await new Promise((r) => setTimeout(r, 3000))
  for (const pid of still.reverse()) process.kill(pid, 'SIGCONT')
  await until('the node to see that it was replaced', 60, async () => (await slots('db')).primary.state === 'stopped')
  apart(seconds('node1', 'db'), seconds('node2', 'db'))
})
