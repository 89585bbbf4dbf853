// A real node behind a chain and a hub that lie, stall and go back: what runs goes on, nothing is deleted, nothing false taken.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { callUnix } from '../src/sys/index.ts'
import { runBehind } from './behind.ts'
import { PAGE, startGrid } from './grid.ts'
import { processesWith, until } from './harness.ts'
import { aboutLogs, hubProxy, type Lie, rpcProxy } from './lies.ts'

/** Seconds each lie lasts from when it is first told. */
const LASTS = process.env.ZOS_NIGHTLY ? 60 : 2

const truth: Lie = (_method, _params, answer) => answer
const honest = (_path: string, body: Buffer) => body
let lie: Lie | 'stall' = truth
/** Answers that were not the chain's, and those that never came: a lie that nobody heard shows nothing. */
let told = 0
let hubLie: ((path: string, body: Buffer) => Buffer) | 'stall' = honest

const grid = await startGrid(1)
const { z, j, spec, second, runs, status } = grid
const { rpc, hub } = grid.services()
const chain = await rpcProxy(rpc[0]!, () => {
  const now = lie
  if (now === 'stall') {
    told++
    return now
  }
  return (method, params, answer) => {
    const said = now(method, params, answer)
    if (JSON.stringify(said) !== JSON.stringify(answer)) told++
    return said
  }
})
const store = await hubProxy(hub[0]!, () => hubLie)
const node = { child: undefined as ChildProcess | undefined }
after(async () => {
  node.child?.kill('SIGTERM')
  await chain[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
  grid[Symbol.dispose]()
})

type Row = { name: string; digest: string; state: string; startedAt: string }
const rows = () => callUnix<Row[]>(`${grid.run('node1')}/compute.sock`, 'GET', '/workloads')

type Plane = { pid: number; away: string; cursor: { block: number } | null; deployments: { held: string }[] }
const plane = () => callUnix<Plane>(`${grid.run('node1')}/provision.sock`, 'GET', '/status')
/** Whether the node takes the chain's word as it is now. */
const isWell = () =>
  plane().then(
    (p) => p.away === '' && p.cursor !== null && p.deployments.length === 1 && p.deployments[0]!.held === '',
    () => false,
  )

test('the node is given these two alone, and runs what was agreed on', async () => {
  z('deploy', spec('web', ['env: { A: one }']), '--as', 'alice')
  second()
  await runs('web', 1)
  node.child = await runBehind(grid.home('node1'), chain.url, store.url)
  assert.equal(await grid.page('web/0'), PAGE)
})

const zeros = `0x${'00'.repeat(32)}`
/** A block that is never reached here. */
const AHEAD = 0xffffff
/** Over all answers: most have one event or none. */
let events = 0
/** Of what a node reads at its start, and later once a minute or when there is news, it is told at a start. */
const atStart: [string, Lie][] = [
  ['returns empty lists', aboutLogs(() => [])],
  ['omits every other event', aboutLogs((logs) => logs.filter(() => events++ % 2 === 1))],
  [
    'says there is no contract',
    (method, _p, answer) => (method === 'eth_getProof' || method === 'eth_call' ? '0x' : answer),
  ],
  ['is another chain', (method, _p, answer) => (method === 'eth_chainId' ? '0x1' : answer)],
]
const always: [string, Lie | 'stall'][] = [
  [
    'goes back',
    (method, _p, answer) =>
      method === 'eth_getBlockByNumber' ? { ...(answer as object), hash: zeros, number: '0x1' } : answer,
  ],
  ['answers nonsense', () => ({ nonsense: true })],
  ['stalls', 'stall'],
]
const isAhead: Lie = (method, [at], answer) =>
  method === 'eth_getBlockByNumber' && (at === 'finalized' || Number(at) === AHEAD)
    ? { ...(answer as object), hash: zeros, number: `0x${AHEAD.toString(16)}` }
    : answer

/** Tells the lie HOW from now on until it was heard, and for a while. */
async function underLie(how: Lie | 'stall', begin: () => unknown = () => {}): Promise<void> {
  const before = await rows()
  told = 0
  lie = how
  try {
    begin()
    await until('the lie to be told', 60, () => told > 0)
    await new Promise((r) => setTimeout(r, LASTS * 1000))
    assert.deepEqual(await rows(), before)
    assert.equal(await grid.page('web/0'), PAGE)
  } finally {
    lie = truth
  }
}

for (const [name, how] of atStart)
  test(`a chain that ${name}: the workload goes on`, async () => {
    const { pid } = await plane()
    await underLie(how, () => process.kill(pid, 'SIGKILL'))
    await until('the truth to be taken up', 60, isWell)
  })

for (const [name, how] of always)
  test(`a chain that ${name}: the workload goes on`, async () => {
    await underLie(how)
    await until('the truth to be taken up', 60, isWell)
  })

test('a hub that gives other bytes or old ones: the version before goes on; with the truth the next one runs', async () => {
  const [before] = await rows()
  let old: Buffer | undefined
  hubLie = (path, body) => {
    if (!path.startsWith('/specs/')) return body
    old ??= Buffer.concat([body, Buffer.from('x')])
    return old
  }
  try {
    z('deploy', spec('web', ['env: { A: two }']), '--as', 'alice')
    second()
    const failed = await until('its word of it', 120, async () => {
      const [slot] = (await status('web')).slots
      return slot!.state === 'failed' ? slot : undefined
    })
    assert.match(failed.reason, /the hub gave other bytes/)
    assert.deepEqual(await rows(), [before])
    assert.equal(await grid.page('web/0'), PAGE)
  } finally {
    hubLie = honest
  }
  await runs('web', 2)
  assert.equal((await rows()).length, 1)
  assert.equal(await grid.page('web/0'), PAGE)
})

test('a hub that stalls keeps nothing from running that runs', async () => {
  const before = await rows()
  hubLie = 'stall'
  try {
    await new Promise((r) => setTimeout(r, LASTS * 1000))
    assert.equal(await grid.page('web/0'), PAGE)
    assert.deepEqual(await rows(), before)
  } finally {
    hubLie = honest
  }
  assert.deepEqual(j('proposals'), [])
})

// late, for a node that took it waits a minute before it doubts what it saw
test('a chain that is far ahead: the workload goes on', () => underLie(isAhead))

test('a node that took a block far ahead begins anew with the truth', {
  skip: process.env.ZOS_NIGHTLY ? false : 'takes a minute: ZOS_NIGHTLY=1',
}, async () => {
  await until('the lie to be taken', 60, async () => (await plane()).cursor?.block === AHEAD)
  await until('the truth to be taken up', 150, async () => (await isWell()) && (await plane()).cursor!.block < AHEAD)
  assert.equal((await rows()).length, 1)
})

test('Ctrl-C ends it in order: no plane falls that another stands on, and nothing of it stays', async () => {
  const said = () => readFileSync(join(grid.home('node1'), 'said'), 'utf8')
  assert.match(said(), /: its planes are up, and the chain answers\n/)
  const before = said().length
  const ended = once(node.child!, 'exit')
  process.kill(-node.child!.pid!, 'SIGINT')
  assert.deepEqual(await ended, [0, null])
  assert.match(said().slice(before), /^\S+ node: down\n$/)
  assert.deepEqual(processesWith(grid.home('node1')), [])
})
