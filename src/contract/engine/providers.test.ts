// RPC nodes as providers run them: they count requests, refuse long ranges, lag behind each other, and each has its own idea of a price.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { sleep } from '#sys'
import { createGroup, openGrid, openRelayer, readConsent, readGroup } from '../actions/index.ts'
import { openWorld, root, slot } from '../testing/world.ts'
import { connectRpc } from './connect.ts'
import { callRpc } from './http.ts'
import type { EmbeddedEngine } from './types.ts'

type Said = { result: unknown } | { error: { code: number; message: string } } | { status: number; after?: string }
type Ask = () => Promise<unknown>
type How = (method: string, params: unknown[], ask: Ask) => Promise<Said> | Said

/** A world whose chain answers at as many URLs as there are ways to answer. */
async function providers(stack: AsyncDisposableStack, ways: How[]) {
  const w = stack.use(await openWorld())
  const socket = join(w.dir, 'rpc')
  await (w.grid.engine as EmbeddedEngine).serve({ socket })
  const listen = async (how: How): Promise<string> => {
    const server: Server = createServer(async (req, res) => {
      let text = ''
      for await (const part of req) text += part
      const { id, method, params } = JSON.parse(text)
      const ask = () => callRpc(`unix://${socket}`, method, params, 5000)
      const said = await Promise.resolve(how(method, params, ask)).catch(
        ({ code, message }): Said => ({ error: { code, message } }),
      )
      if ('status' in said) res.writeHead(said.status, said.after ? { 'retry-after': said.after } : {}).end('too many')
      else res.end(JSON.stringify({ jsonrpc: '2.0', id, ...said }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stack.defer(() => {
      server.closeAllConnections()
      server.close()
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  return { w, urls: await Promise.all(ways.map(listen)) }
}

const honest: How = async (_, __, ask) => ({ result: await ask() })
const onEmbedded = { skip: process.env.ZOS_TEST_RPC ? 'the embedded chain alone' : false, timeout: 180_000 }

test('too many requests: asked again later, as said; whoever says it for ever is named', onEmbedded, async () => {
  await using stack = new AsyncDisposableStack()
  let n = 0
  let open = true
  const refusals: Said[] = [
    { status: 429 },
    { error: { code: -32005, message: 'Too Many Requests' } },
    { status: 429, after: '0.01' },
    { error: { code: 429, message: 'compute units per second exceeded' } },
  ]
  const counts: How = async (_, __, ask) => {
    const refused = !open || n++ % 2 === 0
    return refused ? refusals[(n >> 1) % refusals.length]! : { result: await ask() }
  }
  const { w, urls } = await providers(stack, [counts])
  const { group } = await w.team()
  await using engine = await connectRpc(urls)
  assert.equal((await readGroup(openGrid(engine, w.grid.contract), group)).group, group)
  assert.ok(n > 4)
  open = false
  const begun = performance.now()
  await assert.rejects(
    callRpc(urls[0]!, 'eth_chainId', [], 700),
    /too much was asked of it: (status 429|Too Many|compute)/,
  )
  assert.ok(performance.now() - begun < 10_000)
})

test('ranges of logs shrink until they are taken, and no block is left out', onEmbedded, async () => {
  await using stack = new AsyncDisposableStack()
  const taken: [number, number][] = []
  let refused = 0
  const short: How = async (method, params, ask) => {
    if (method !== 'eth_getLogs') return { result: await ask() }
    const { fromBlock, toBlock } = params[0] as { fromBlock: string; toBlock: string }
    const [from, to] = [Number(fromBlock), Number(toBlock)]
    if (to - from < 4) taken.push([from, to])
    else refused++
    if (to - from < 4) return { result: await ask() }
    return { error: { code: -32005, message: 'query exceeds max block range 4' } }
  }
  const { w, urls } = await providers(stack, [short])
  for (let n = 0; n < 12; n++) await w.team()
  const { group } = await w.team()
  await using engine = await connectRpc(urls)
  assert.equal((await readGroup(openGrid(engine, w.grid.contract, { since: 0n }), group)).group, group)
  let next = 0
  for (const [from, to] of taken) {
    assert.equal(from, next)
    next = to + 1
  }
  assert.ok(next >= 14 && refused <= 10, `${next} blocks, ${refused} refusals`)
})

test(
  'one of two lags: what both have is read, what is written is waited for until both have it',
  onEmbedded,
  async () => {
    await using stack = new AsyncDisposableStack()
    let known = Number.POSITIVE_INFINITY
    const lags: How = async (method, params, ask) => {
      const at = {
        eth_call: 1,
        eth_getTransactionCount: 1,
        eth_getBalance: 1,
        eth_getCode: 1,
        eth_getBlockByNumber: 0,
      }[method]
      const result = (await ask()) as { number?: string; blockNumber?: string } | null
      if (method === 'eth_blockNumber') return { result: `0x${Math.min(known, Number(result)).toString(16)}` }
      if (method === 'eth_getTransactionReceipt')
        return { result: Number(result?.blockNumber ?? 0) > known ? null : result }
      if (at === 0 && params[0] === 'finalized' && Number(result!.number) > known)
        return { result: await callRpc(`unix://${socket}`, method, [`0x${known.toString(16)}`, false], 5000) }
      const asked = at === undefined ? 0 : Number(params[at])
      if (asked > known) return at === 0 ? { result: null } : { error: { code: -32000, message: 'header not found' } }
      return { result }
    }
    const { w, urls } = await providers(stack, [honest, lags])
    const socket = join(w.dir, 'rpc')
    const n = await w.node('n')
    const { group } = await w.team()
    await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
    await using engine = await connectRpc(urls)
    const grid = openGrid(engine, w.grid.contract, { since: w.grid.since })
    known = (await w.grid.engine.finalized()).number
    await w.agree(group, 'web', 'update', { specRoot: root(2), slots: [slot(0, n.id)] })
    assert.equal((await readConsent(grid, group, 'web')).state.version, 1)
    const members = Object.values(w.members).map(({ address }) => ({ address }))
    const made = createGroup(grid, openRelayer(), { members, threshold: 2 })
    let isMade = false
    void made.then(() => {
      isMade = true
    })
    await sleep(1500)
    assert.equal(isMade, false)
    known = Number.POSITIVE_INFINITY
    const other = await made
    assert.equal((await readGroup(grid, other.group)).group, other.group)
    assert.equal((await readConsent(grid, group, 'web')).state.version, 2)
  },
)

test(
  'a price that one shouts is not paid; a field of a block that one bends is outvoted though its hash is right',
  onEmbedded,
  async () => {
    await using stack = new AsyncDisposableStack()
    const quantities = ['eth_gasPrice', 'eth_maxPriorityFeePerGas', 'eth_getTransactionCount']
    const shouts: How = async (method, params, ask) => {
      const result = await ask()
      if (quantities.includes(method) && params[1] !== 'latest') return { result: '0xde0b6b3a7640000' }
      if (method !== 'eth_getBlockByNumber') return { result }
      return { result: { ...(result as object), timestamp: '0x1', baseFeePerGas: '0xde0b6b3a7640000' } }
    }
    const { w, urls } = await providers(stack, [shouts, honest, honest])
    await using engine = await connectRpc(urls)
    const { account } = openRelayer()
    const asked = quantities.map((method) =>
      engine.request({ method, params: method === quantities[2] ? [account.address, 'pending'] : [] }),
    )
    assert.deepEqual(await Promise.all(asked), ['0x0', '0x0', '0x0'])
    assert.deepEqual(await engine.finalized(), await w.grid.engine.finalized())
    const head = await engine.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })
    assert.equal((head as { baseFeePerGas: string }).baseFeePerGas, '0x0')
  },
)

test('connections that were kept and that the other side closed, all of them: the question is asked on a new one', async () => {
  await using stack = new AsyncDisposableStack()
  const sockets: Socket[] = []
  const server = createServer(async (req, res) => {
    for await (const _ of req);
    res.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: sockets.length }))
  })
  server.on('connection', (socket) => sockets.push(socket))
  const dir = await mkdtemp(join(tmpdir(), 'zos-kept-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const socket = join(dir, 'rpc')
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `unix://${socket}`
  const ask = () => callRpc(url, 'eth_chainId', [], 5000)
  await Promise.all(Array.from({ length: 4 }, ask))
  assert.equal(sockets.length, 4)
  await ask()
  assert.equal(sockets.length, 4, 'they are kept')
  // gone as this side writes: it has not heard of it
  const late = ask()
  for (const one of sockets) one.destroy()
  assert.equal(await late, 5)
})
