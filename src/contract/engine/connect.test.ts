import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import {
  approve,
  createGroup,
  draftTransition,
  openGrid,
  openRelayer,
  poll,
  propose,
  proveDeployment,
  readConsent,
  readDeployment,
  readGroup,
  readNode,
  watch,
} from '../actions/index.ts'
import { openWorld, refusal, root, slot, type World } from '../testing/world.ts'
import { connectRpc } from './connect.ts'
import { callRpc } from './http.ts'
import type { EmbeddedEngine } from './types.ts'

/** An RPC node that passes calls on to SOCKET, and does to the answers what LIE does. */
async function node(
  socket: string,
  lie: (method: string, result: unknown) => unknown,
): Promise<{ url: string; server: Server }> {
  const server = createServer(async (req, res) => {
    let text = ''
    for await (const d of req) text += d
    const { id, method, params } = JSON.parse(text)
    try {
      const result = await lie(method, await callRpc(`unix://${socket}`, method, params, 20_000))
      res.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
    } catch (error) {
      const { code, message, data } = error as { code: unknown; message: string; data: unknown }
      res.end(JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, data } }))
    }
  })
  await new Promise<void>((r) => server.listen(0, '127.0.0.1', r))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

/** A node and a group in W, whose chain answers at a socket. */
async function served(w: World) {
  const n = await w.node('n')
  const { group } = await w.team()
  const socket = join(w.dir, 'rpc')
  await (w.grid.engine as EmbeddedEngine).serve({ socket })
  return { n, group, socket }
}

const flip = (result: unknown): unknown =>
  JSON.parse(
    JSON.stringify(result ?? null).replace(
      /"0x[0-9a-f]{8,}/g,
      (h) => `${h.slice(0, -1)}${h.at(-1) === '1' ? '2' : '1'}`,
    ),
  )

test('k of n RPC nodes: one that lies, omits, stalls, lags or is gone is outvoted', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { n, group, socket } = await served(w)
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const honest = (_: string, r: unknown) => r
  const bad: Record<string, (m: string, r: unknown) => unknown> = {
    lies: (_, r) => flip(r),
    omits: (m, r) => (m === 'eth_getLogs' ? [] : m.startsWith('eth_getBlock') ? null : r),
    stalls: () => new Promise(() => {}),
    lags: (m, r) => (m === 'eth_blockNumber' ? '0x1' : r),
    races: (m, r) => (m === 'eth_blockNumber' ? '0xffffff' : r),
    shouts: () => 'x'.repeat(1000),
  }
  const [a, b] = [await node(socket, honest), await node(socket, honest)]
  const servers = [a, b]
  try {
    for (const [how, lie] of Object.entries(bad)) {
      const c = await node(socket, lie)
      servers.push(c)
      // one that stalls is waited for so long at each question
      const timeout = how === 'stalls' ? 1500 : 20_000
      await using engine = await connectRpc([c.url, a.url, b.url], { timeout })
      const grid = openGrid(engine, w.grid.contract, { since: w.grid.since })
      assert.equal(engine.genesis, w.grid.engine.genesis, how)
      assert.deepEqual(await readConsent(grid, group, 'web'), await readConsent(w.grid, group, 'web'), how)
      assert.equal((await readNode(grid, n.id))!.used.ram, 128, how)
    }
    // alone, a liar is caught by the signatures, and one who says nothing by what is missing
    for (const how of ['lies', 'omits']) {
      const said = await refusal(
        connectRpc([servers[how === 'lies' ? 2 : 3]!.url]).then((engine) =>
          readConsent(openGrid(engine, w.grid.contract, { since: w.grid.since }), group, 'web'),
        ),
      )
      assert.notEqual(said, 'it was taken', how)
    }
    await using engine = await connectRpc([a.url, 'http://127.0.0.1:1', `unix://${socket}`])
    const grid = openGrid(engine, w.grid.contract)
    const members = Object.values(w.members).map((m) => ({ address: m.address }))
    const other = await createGroup(grid, openRelayer(), { members, threshold: 2 })
    assert.equal((await readGroup(w.grid, other.group)).digest, other.group, 'writing works as well')
    assert.match(await refusal(connectRpc(['http://127.0.0.1:1', a.url])), /no 2 of 2 RPC nodes agree/)
    assert.match(await refusal(connectRpc([])), /give more/)
  } finally {
    for (const s of servers) {
      s.server.closeAllConnections()
      s.server.close()
    }
  }
})

test('the chain as a process: ready in one line, ended by SIGTERM, one clear line when it cannot', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-daemon-'))
  const start = (...args: string[]) =>
    spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'daemon.ts'), ...args])
  const ended = (child: ReturnType<typeof start>) =>
    new Promise<{ code: number | null; err: string }>((resolve) => {
      let err = ''
      child.stderr.on('data', (d) => (err += d))
      child.on('close', (code) => resolve({ code, err }))
    })
  try {
    const child = start('--dir', dir, '--port', '0')
    const end = ended(child)
    const line = await new Promise<string>((resolve) => child.stdout.once('data', (d) => resolve(String(d))))
    const { url, genesis } = JSON.parse(line) as { url: string; genesis: string }
    await using engine = await connectRpc([url])
    assert.equal(engine.genesis, genesis)
    const second = await ended(start('--dir', dir, '--port', '0'))
    assert.equal(second.code, 1)
    assert.match(second.err, /^Open chain ".*": another process runs it\n$/)
    child.kill('SIGTERM')
    assert.deepEqual(await end, { code: 0, err: '' })
    assert.equal((await ended(start('--dir', dir))).code, 2)
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('two of five that lie together are outvoted, whichever come first; alone they are believed by none who checks', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { n, group, socket } = await served(w)
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const truth = await readConsent(w.grid, group, 'web')
  let lie: (m: string, r: unknown) => unknown = (_, r) => r
  const liars = await Promise.all([1, 2].map(() => node(socket, (m, r) => lie(m, r))))
  const honest = await Promise.all([1, 2, 3].map(() => node(socket, (_, r) => r)))
  // each tells the same as the other, so that what they say is two votes
  const told: Record<string, typeof lie> = {
    'other bytes': (_, r) => flip(r),
    'no events': (m, r) => (m === 'eth_getLogs' ? [] : r),
    'an older head': (m, r) => (m === 'eth_blockNumber' ? '0x1' : m === 'eth_getBlockByNumber' ? null : r),
    'a head that is not there': (m, r) =>
      m === 'eth_blockNumber' ? '0xffffff' : m === 'eth_getBlockByNumber' ? flip(r) : r,
  }
  try {
    for (const [what, how] of Object.entries(told))
      for (const all of [
        [...liars, ...honest],
        [...honest, ...liars],
      ]) {
        lie = (_, r) => r
        await using engine = await connectRpc(
          all.map((s) => s.url),
          { timeout: 20_000 },
        )
        lie = how
        const grid = openGrid(engine, w.grid.contract, { since: w.grid.since })
        assert.deepEqual(await readConsent(grid, group, 'web'), truth, what)
        assert.deepEqual(await engine.finalized(), await w.grid.engine.finalized(), what)
        assert.equal((await proveDeployment(grid, group, 'web')).head, truth.state.head, what)
      }
    // were all that is asked liars, the signatures would still not be there
    lie = told['other bytes']!
    const fooled = connectRpc(liars.map((s) => s.url)).then((engine) =>
      readConsent(openGrid(engine, w.grid.contract, { since: w.grid.since }), group, 'web'),
    )
    assert.notEqual(await refusal(fooled), 'it was taken')
  } finally {
    for (const s of [...liars, ...honest]) {
      s.server.closeAllConnections()
      s.server.close()
    }
  }
})

test('a look without news is one question; what else is proposed costs an approval nothing', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { n, group, socket } = await served(w)
  const asked: string[] = []
  const { url, server } = await node(socket, (method, result) => {
    asked.push(method)
    return result
  })
  try {
    await using engine = await connectRpc([url])
    const grid = openGrid(engine, w.grid.contract, { since: w.grid.since })
    const { cursor } = await poll(grid)
    asked.length = 0
    assert.deepEqual(await poll(grid, cursor), { events: [], cursor })
    assert.deepEqual(asked, ['eth_getBlockByNumber'])
    const offer = async (name: string) => {
      const consent = await readConsent(w.grid, group, name)
      const draft = { specRoot: root(1), slots: [slot(0, n.id, { cpu: 1, ram: 1, ssd: 1 })] }
      const transition = draftTransition(consent.group, consent.state, 'deploy', draft)
      return (await propose(w.grid, w.relayer, w.members.alice, { transition })).id
    }
    const questions = async (name: string) => {
      const id = await offer(name)
      asked.length = 0
      await approve(grid, openRelayer(), w.members.bob, group, id)
      return asked.length
    }
    const alone = await questions('one')
    for (const name of ['two', 'three', 'four', 'five']) await offer(name)
    assert.equal(await questions('six'), alone)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('watching from a cursor misses nothing, repeats nothing, and notices a chain that went back or is behind', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const n = await w.node('n')
  const { group } = await w.team()
  const first = await poll(w.grid)
  assert.deepEqual(
    first.events.map((e) => e.name),
    ['FarmSet', 'NodeSet', 'GroupSet'],
  )
  assert.deepEqual((await poll(w.grid, first.cursor)).events, [])
  const stop = new AbortController()
  const seen: string[] = []
  const watching = (async () => {
    for await (const batch of watch(w.grid, { cursor: first.cursor, interval: 20, signal: stop.signal }))
      seen.push(...batch.events.map((e) => e.name))
  })()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  assert.equal((await readDeployment(w.grid, group, 'web')).version, 1)
  while (!seen.includes('Approved')) await new Promise((r) => setTimeout(r, 20))
  stop.abort()
  await watching
  assert.deepEqual(seen, ['Posted', 'Placed', 'Approved'])
  await assert.rejects(poll(w.grid, { ...first.cursor, hash: root(5) }), { code: 'chain-went-back' })
  await assert.rejects(poll(w.grid, { block: 10_000, hash: root(5) }), { code: 'chain-behind' })
})
