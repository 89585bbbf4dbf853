// Who is who on the overlay, by a real chain: what is known while the chain is away, or its RPC keeps something back.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  approve,
  createFarm,
  createGroup,
  deployContracts,
  draftMembership,
  type Key,
  keyOf,
  openEmbedded,
  openGrid,
  openRelayer,
  propose,
  readGroup,
  registerNode,
} from '#contract'
import { sleep, until } from '#sys'
import { followKnown } from './known.ts'

type Log = { topics: string[] }
const key = (name: string): Key => keyOf(name, Buffer.from(name.padEnd(32, '.')))
const [alice, bob, carol, owner] = ['alice', 'bob', 'carol', 'owner'].map(key) as [Key, Key, Key, Key]
const seal = ({ seal }: Key) => seal.slice(2)
const capacity = { cpu: 4000, ram: 4096, ssd: 4096, hdd: 0, uplink: 0, gpu: 0, ipv4: 0 }
/** Within two looks of somebody who came and is not known, far below the 30 s between others. */
const SOON = 30_000

test('nodes by their record, people by their group; known they stay while the chain is away or an RPC keeps something back', {
  timeout: 180_000,
}, async () => {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'zos-known-'))
  stack.defer(() => rm(dir, { recursive: true, force: true }))
  const engine = stack.use(await openEmbedded({ dir: join(dir, 'chain') }))
  const relayer = openRelayer()
  const { contract, since } = await deployContracts(engine, relayer)
  const grid = openGrid(engine, contract, { since })
  const farm = await createFarm(grid, relayer, owner.address, 'home')
  const join_ = (name: string, overlay: unknown) =>
    registerNode(grid, relayer, { node: key(name), owner }, { farm, capacity, country: 'DE', attributes: { overlay } })
  const terms = (members: Key[]) => ({ members: members.map(({ address, seal }) => ({ address, seal })), threshold: 1 })

  let away = false
  /** What is left of the answer to a question about one group. */
  let left = (logs: Log[]) => logs
  const server = createServer(async (req, res) => {
    let text = ''
    for await (const part of req) text += part
    const { id, method, params } = JSON.parse(text)
    if (away) {
      res.destroy()
      return
    }
    const said = await engine.request({ method, params })
    const ofOne = method === 'eth_getLogs' && params[0].topics[1]
    const result = ofOne ? left(said as Log[]) : said
    res.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  stack.defer(() => void server.close())
  stack.defer(() => server.closeAllConnections())
  const stop = new AbortController()
  stack.defer(() => stop.abort())
  const file = join(dir, 'grid.json')
  const lines: string[] = []
  const rank = followKnown(file, (line) => lines.push(line), stop.signal)
  const complained = (before: number) =>
    until('it to be complained of', SOON, () => {
      rank('nobody')
      return lines.length > before || undefined
    })
  const soon = (who: string, what: string) =>
    until(`${who} to be a ${what}`, SOON, () => rank(who) === what || undefined)

  await join_('one', 'aa'.repeat(32))
  await join_('nameless', undefined)
  const { group } = await createGroup(grid, relayer, terms([alice, bob]))
  assert.equal(rank(seal(alice)), 'stranger')
  await sleep(50)
  assert.deepEqual(lines, [], 'a grid that comes later is nothing to complain of')
  const rpc = [`http://127.0.0.1:${(server.address() as AddressInfo).port}`]
  await writeFile(file, JSON.stringify({ contract, since: Number(since), rpc }))
  await soon('aa'.repeat(32), 'node')
  await soon(seal(alice), 'member')
  assert.equal(rank(seal(carol)), 'stranger')

  away = true
  await complained(0)
  assert.match(lines[0]!, /^who is of the grid is not known: /)
  assert.equal(rank(seal(alice)), 'member')
  await join_('two', 'bb'.repeat(32))
  away = false
  await soon('bb'.repeat(32), 'node')
  assert.equal(lines.length, 1, 'once')

  // bob goes and carol comes, and the RPC keeps the oldest set back, or the newest
  let asked = 0
  left = (logs) => (asked++ % 2 ? logs.slice(0, -1) : logs.slice(1))
  const state = await readGroup(grid, group)
  const set = draftMembership(state, terms([alice, carol]), Math.floor(Date.now() / 1000) + 600)
  const { receipt, id } = await propose(grid, relayer, alice, { set })
  if (!receipt) await approve(grid, relayer, bob, group, id)
  await complained(1)
  assert.match(lines.at(-1)!, new RegExp(`^who is in group ${group.slice(0, 10)} is not known: `))
  assert.equal(rank(seal(bob)), 'member', 'whoever was known stays known')
  left = (logs) => logs
  await soon(seal(carol), 'member')
  assert.equal(rank(seal(bob)), 'stranger')
})
