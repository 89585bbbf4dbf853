// A real node behind a chain and a hub that lie, stall and go back: what runs goes on, nothing is deleted, nothing false taken.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { after, test } from 'node:test'
import { callUnix } from '../src/sys/index.ts'
import { runBehind } from './behind.ts'
import { PAGE, startGrid } from './grid.ts'
import { until } from './harness.ts'
import { aboutLogs, hubProxy, type Lie, rpcProxy } from './lies.ts'

/** Seconds each lie lasts. */
const LASTS = process.env.ZOS_NIGHTLY ? 60 : 3

const truth: Lie = (_method, _params, answer) => answer
const honest = (_path: string, body: Buffer) => body
let lie: Lie | 'stall' = truth
let hubLie: ((path: string, body: Buffer) => Buffer) | 'stall' = honest

const grid = await startGrid(1)
const { z, j, spec, second, runs, status } = grid
const { rpc, hub } = grid.services()
const chain = await rpcProxy(rpc[0]!, () => lie)
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

test('the node is given these two alone, and runs what was agreed on', async () => {
  z('deploy', spec('web', ['env: { A: one }']), '--as', 'alice')
  second()
  await runs('web', 1)
  node.child = await runBehind(grid.home('node1'), chain.url, store.url)
  assert.equal(await grid.page('web/0'), PAGE)
})

const zeros = `0x${'00'.repeat(32)}`
/** A block that is never reached here. */
const AHEAD = '0xffffff'
const lies: [string, Lie | 'stall'][] = [
  ['returns empty lists', aboutLogs(() => [])],
  ['omits every other event', aboutLogs((logs) => logs.filter((_, n) => n % 2 === 0))],
  [
    'goes back',
    (method, _p, answer) =>
      method === 'eth_getBlockByNumber' ? { ...(answer as object), hash: zeros, number: '0x1' } : answer,
  ],
  [
    'is far ahead',
    (method, [at], answer) =>
      method === 'eth_getBlockByNumber' && (at === 'finalized' || at === AHEAD)
        ? { ...(answer as object), hash: zeros, number: AHEAD }
        : answer,
  ],
  [
    'says there is no contract',
    (method, _p, answer) => (method === 'eth_getProof' || method === 'eth_call' ? '0x' : answer),
  ],
  ['is another chain', (method, _p, answer) => (method === 'eth_chainId' ? '0x1' : answer)],
  ['answers nonsense', () => ({ nonsense: true })],
  ['stalls', 'stall'],
]
for (const [name, told] of lies)
  test(`a chain that ${name}: the workload goes on`, async () => {
    const before = await rows()
    lie = told
    await new Promise((r) => setTimeout(r, LASTS * 1000))
    assert.deepEqual(await rows(), before)
    assert.equal(await grid.page('web/0'), PAGE)
    lie = truth
  })

test('a hub that gives other bytes or old ones: the version before goes on; with the truth the next one runs', async () => {
  const [before] = await rows()
  let old: Buffer | undefined
  hubLie = (path, body) => {
    if (!path.startsWith('/specs/')) return body
    old ??= Buffer.concat([body, Buffer.from('x')])
    return old
  }
  z('deploy', spec('web', ['env: { A: two }']), '--as', 'alice')
  second()
  const failed = await until('its word of it', 90, async () => {
    const [slot] = (await status('web')).slots
    return slot!.state === 'failed' ? slot : undefined
  })
  assert.match(failed.reason, /the hub gave other bytes/)
  assert.deepEqual(await rows(), [before])
  assert.equal(await grid.page('web/0'), PAGE)
  hubLie = honest
  await runs('web', 2)
  assert.equal((await rows()).length, 1)
  assert.equal(await grid.page('web/0'), PAGE)
})

test('a hub that stalls keeps nothing from running that runs', async () => {
  hubLie = 'stall'
  const before = await rows()
  await new Promise((r) => setTimeout(r, LASTS * 1000))
  assert.equal(await grid.page('web/0'), PAGE)
  assert.deepEqual(await rows(), before)
  hubLie = honest
  assert.deepEqual(j('proposals'), [])
})
