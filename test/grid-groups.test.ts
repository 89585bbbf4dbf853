// This home's names of groups: one name, one group, on each grid; and which group a command means that is told none.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import {
  createFarm,
  createGroup,
  deployContracts,
  draftTransition,
  type Key,
  openEmbedded,
  openGrid,
  openRelayer,
  propose,
  readConsent,
  registerNode,
  sendBeats,
  signBeat,
} from '#contract'
import { newKey } from '#keys'
import { programFlags } from '#sys'
import { groupBook, noteGroup } from '../src/cli/grid/group_book.ts'
import { resources, slot } from '../src/contract/testing/world.ts'
import { ROOT } from './harness.ts'
import { PASSPHRASE } from './keys.ts'
import { rpcProxy } from './lies.ts'

type Hex = `0x${string}`

const work = mkdtempSync(join(tmpdir(), 'zos-groups-'))
const home = join(work, 'home')
process.env.ZOS_HOME = home
const cost = { N: 2 ** 10, r: 8, p: 1 }
const keys: Key[] = []
for (const name of ['alice', 'bob', 'node', 'owner'])
  keys.push(await newKey(join(home, 'keys'), name, PASSPHRASE, { cost }))
const engine = await openEmbedded({ dir: join(work, 'chain') })
const server = await engine.serve({ port: 0 })
const relayer = openRelayer()
const { contract, since } = await deployContracts(engine, relayer)
const grid = openGrid(engine, contract, { since })
/** Is called when a command sends a transaction. */
let sent = () => {}
const chain = await rpcProxy(
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  () => (method, _params, answer) => {
    if (method === 'eth_sendRawTransaction') sent()
    return answer
  },
)
const { chainId, genesis } = engine
const facts = { format: 'zos-grid/1', chainId, genesis, contract, since: Number(since), rpc: [chain.url], peers: [] }
writeFileSync(join(home, 'grid.json'), JSON.stringify({ ...facts, hub: ['http://127.0.0.1:1'] }))

beforeEach(() => rmSync(join(home, 'groups'), { recursive: true, force: true }))
after(async () => {
  await chain[Symbol.asyncDispose]()
  server.closeAllConnections()
  await engine[Symbol.asyncDispose]()
  rmSync(work, { recursive: true, force: true })
})

const zos = (...args: string[]) =>
  new Promise<{ code: number | null; out: string; err: string }>((done) => {
    const env = { ...process.env, ZOS_PASSPHRASE: PASSPHRASE, ZOS_GRID: join(home, 'grid.json') }
    const child = spawn(process.execPath, [...programFlags(), join(ROOT, 'src/cli/main.ts'), ...args], { env })
    let [out, err] = ['', '']
    child.stdout.on('data', (d) => (out += d))
    child.stderr.on('data', (d) => (err += d))
    child.on('close', (code) => done({ code, out, err }))
  })

const id = (byte: string): Hex => `0x${byte.repeat(32)}`
const [here, there]: Hex[] = [`0x${'01'.repeat(20)}`, `0x${'02'.repeat(20)}`]
const entry = (group: Hex, contract = here!, name = 'team') => ({ name, group, contract })

test('a name that two take at the same moment is one’s; on another grid it is free; files of before are read', async () => {
  const took = await Promise.all(['a1', 'a2', 'a3', 'a4'].map((byte) => noteGroup(entry(id(byte)))))
  const winner = id(`a${1 + took.indexOf(true)}`)
  assert.equal(took.filter(Boolean).length, 1)
  assert.deepEqual(groupBook(), [entry(winner)])
  assert.ok(await noteGroup(entry(id('b1'), there)))
  writeFileSync(join(home, 'groups/old.json'), JSON.stringify(entry(id('c1'), here, 'old')))
  assert.deepEqual(groupBook(), [entry(winner), entry(id('b1'), there), entry(id('c1'), here, 'old')])
})

test('a group whose name was taken while it was made is told by its id, and the name stays whose it is', async () => {
  // the other took the name behind the look whether it is free
  sent = () => {
    mkdirSync(join(home, 'groups', contract), { recursive: true })
    writeFileSync(join(home, 'groups', contract, 'team.json'), JSON.stringify(entry(id('a1'), contract)))
  }
  const late = await zos('group', 'create', 'team', '--member', 'alice', '--threshold', '1')
  sent = () => {}
  assert.equal(late.code, 1)
  const [, made] = /another took the name meanwhile; .* --group (0x[0-9a-f]{64})\n$/.exec(late.err) ?? []
  assert.ok(made, late.err)
  assert.deepEqual(groupBook(), [entry(id('a1'), contract)])
  assert.match((await zos('group', 'show', made)).out, /alice/)
})

test('a spec goes to the only group that has its name; where none has, it is asked which', async () => {
  const [alice, bob, node, owner] = keys
  const group = async (name: string, { address, seal }: Key) => {
    const made = await createGroup(grid, relayer, { members: [{ address, seal }], threshold: 1 })
    await noteGroup({ name, group: made.group, contract })
    return made.group
  }
  await group('ours', alice!)
  const theirs = await group('theirs', bob!)
  const farm = await createFarm(grid, relayer, owner!.address, 'home')
  const capacity = resources({ cpu: 4000, ram: 4096, ssd: 102400 })
  await registerNode(grid, relayer, { node: node!, owner: owner! }, { farm, capacity, country: 'BE' })
  const spec = join(work, 'web.yaml')
  writeFileSync(spec, `name: web\nworkloads:\n  - { name: web, image: w, flist: ${'ab'.repeat(32)}, memory: 64m }\n`)
  const nobodys = await zos('deploy', spec, '--as', 'alice')
  assert.match(nobodys.err, /none of your groups has it; say with --group which of ours, theirs\n$/)
  const { group: state, state: none } = await readConsent(grid, theirs, 'web')
  const transition = draftTransition(state, none, 'deploy', { specRoot: id('5e'), slots: [slot(0, 1)] })
  await propose(grid, relayer, bob!, { transition })
  const foreign = await zos('deploy', spec, '--as', 'alice')
  assert.match(foreign.err, /is not one of its members/)
  const own = await zos('deploy', spec, '--as', 'bob')
  assert.match(own.err, /^zos: Load "abab/, 'a member comes as far as the image, which is none here')
  // its node said long ago that it lives: who looks is told, and who is about to place something there again
  const seen = Math.floor(Date.now() / 1000) - 7200
  await sendBeats(grid, relayer, [signBeat(grid, node!, 1, seen)])
  const silent = new RegExp(`its node has given no sign of life since ${new Date(seen * 1000).toISOString()}`)
  assert.match((await zos('status', 'web')).out, silent)
  assert.match((await zos('deploy', spec, '--plan')).err, silent)
})
