// What a group can do with what it runs, all through the commands: every state by consent, every stop by one.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { poll, WORDS_TOPIC } from '#contract'
import { callUnix } from '#sys'
import { openContext } from '../src/cli/grid/context.ts'
import { startGrid } from './grid.ts'
import { until } from './harness.ts'

const grid = await startGrid(2, ['2', 'wipe=3'])
after(() => grid[Symbol.dispose]())
const { z, j, second, spec, status, runs, refused } = grid

const stopped = (name: string) =>
  until(`"${name}" to stop`, 60, async () => {
    const view = await status(name)
    return view.slots.every((s) => s.state === 'stopped') && view
  })

test('update and undo are versions of their own; both need two', async () => {
  z('deploy', spec('web', ['env: { GREETING: one }']), '--as', 'alice')
  second()
  await runs('web', 1)
  z('deploy', spec('web', ['env: { GREETING: two }']), '--as', 'bob')
  second('carol')
  await runs('web', 2)
  z('undo', 'web', '--as', 'alice')
  assert.equal((await status('web')).version, 2, 'one approval undoes nothing')
  second()
  const { slots } = await runs('web', 3)
  assert.equal(slots.length, 1)
})

test('one member freezes, once per epoch; the group holds it frozen or thaws it', async () => {
  z('freeze', 'web', '--as', 'carol')
  await stopped('web')
  assert.equal((await status('web')).state, 'frozen')
  assert.match(refused('freeze', 'web', '--as', 'carol'), /used its one freeze of this epoch/)
  z('freeze', 'web', '--hold', '--as', 'alice')
  second()
  z('thaw', 'web', '--as', 'alice')
  assert.equal((await status('web')).state, 'frozen', 'one approval thaws nothing')
  second()
  await runs('web', 3)
})

test('what nodes sign goes by the relayer; without it the grid goes on', async () => {
  const relay = join(grid.node.home, 'grid/relay')
  const accounts = () =>
    [...readFileSync(join(grid.node.home, 'grid/log/relay.log'), 'utf8').matchAll(/posted by (0x\w{40})/g)].map(
      ([, a]) => a!.toLowerCase(),
    )
  // who posted the reports that the chain has
  const posters = async () => {
    await using context = await openContext()
    const { events } = await poll(context.grid)
    const reports = events.filter(({ name }) => name === 'Acked')
    const ask = (tx: string) => context.grid.engine.request({ method: 'eth_getTransactionByHash', params: [tx] })
    return Promise.all(reports.map(async ({ tx }) => ((await ask(tx)) as { from: string }).from.toLowerCase()))
  }
  // listed, and nobody may send to it: from now on the relayer hears nothing
  const topic = [...Buffer.from(WORDS_TOPIC)]
  await callUnix(join(relay, 'api.sock'), 'POST', '/api/v1/messages/topics', { body: topic })
  const before = await posters()
  assert.ok(before.some((account) => accounts().includes(account)))

  const { pid } = j<{ relay: { pid: number } }>('grid', 'status').relay
  process.kill(pid, 'SIGKILL')
  z('deploy', spec('web', ['env: { GREETING: three }']), '--as', 'alice')
  second()
  z('grid', 'up')
  await runs('web', 4)
  const since = (await posters()).slice(before.length)
  assert.ok(since.length > 0)
  for (const account of since) assert.ok(!accounts().includes(account), 'nodes post by themselves')
  const path = `/api/v1/messages/topics/${encodeURIComponent(Buffer.from(topic).toString('base64'))}`
  await callUnix(join(relay, 'api.sock'), 'DELETE', path)
})

test('a migration is in two phases: the old node goes on until the new one runs', async () => {
  const from = (await status('web')).slots[0]!.node
  const to = from === 'node1' ? 'node2' : 'node1'
  z('migrate', 'web/0', '--to', to, '--as', 'alice')
  second()
  await until('the new node to run it', 120, async () => {
    const [slot] = (await status('web')).slots
    return slot!.node === to && slot!.state === 'running'
  })
  assert.equal(await grid.page('web/0'), 'hello from a node\n')
  // what was booked on the old one is free again
  await until('the old node to be free', 60, () => {
    const { used } = j<{ used: { ram: number } }>('node', 'show', from)
    return used.ram === 0
  })
  assert.match(refused('migrate', 'web/0', '--to', to, '--as', 'alice'), /is on node/)
  // nobody is asked to sign what the new node would not start, while the old one lets go of it
  z('deploy', spec('home', ['cpus: 0.1', 'geo: { countries: [BE] }']), '--as', 'alice')
  z('deploy', spec('pair', ['cpus: 0.1', 'mode: fenced', 'standby: true', 'nodes: [node1]']), '--as', 'alice')
  second()
  assert.match(refused('migrate', 'home/0', '--to', 'node2', '--as', 'alice'), /geo rules forbid it in DE/)
  assert.match(refused('migrate', 'pair/0', '--to', 'node2', '--as', 'alice'), /its standby is there/)
  assert.deepEqual(j('proposals'), [])
  z('cancel', 'pair', '--as', 'alice')
  second()
})

test('members come and go; what the old ones approved but had not agreed on dies with their epoch', async () => {
  z('deploy', spec('web', ['env: { GREETING: three }']), '--as', 'alice')
  const [flying] = j<{ id: string }[]>('proposals')
  z('key', 'new', 'dora')
  z('group', 'change', 'team', '--remove', 'carol', '--add', 'dora', '--threshold', 'wipe=2', '--as', 'alice')
  const open = j<{ id: string; kind: string }[]>('proposals')
  const change = open.find((p) => p.kind === 'membership')!
  assert.match(z('approve', change.id, '--as', 'bob'), /- carol: removed/)
  const team = j<{ epoch: number; members: { name: string }[] }>('group', 'show', 'team')
  assert.deepEqual([team.epoch, team.members.map((m) => m.name).sort()], [2, ['alice', 'bob', 'dora']])
  assert.deepEqual(j('proposals'), [], 'the update in flight is void')
  assert.match(refused('approve', flying!.id, '--as', 'bob'), /the group's members changed since it was proposed/)
  assert.match(refused('freeze', 'web', '--as', 'carol'), /is not one of its members/)
  // a new epoch gives each member a freeze again; dora reads what she was not there for once it is sealed to her
  const away = (await status('web')).slots[0]!.node === 'node1' ? 'node2' : 'node1'
  assert.match(
    refused('migrate', 'web/0', '--to', away, '--as', 'dora'),
    /is not sealed to "dora"; .*: zos reseal web$/,
  )
  z('reseal', 'web', '--as', 'alice')
  second('dora')
  z('migrate', 'web/0', '--to', away, '--as', 'dora')
  second()
  await runs('web', 4)
})

test('consent that was given for a time ends with it, and one that was frozen for a time runs on after it', async () => {
  z('group', 'change', 'team', '--freeze', '60s', '--as', 'alice')
  second()
  z('freeze', 'web', '--as', 'dora')
  await stopped('web')
  z('deploy', spec('short', [], ['expires: 15s']), '--as', 'alice')
  second()
  await until('its time to be over', 60, async () => (await status('short')).state === 'cancelled')
  await runs('web', 4)
})

test('cancel ends it and keeps the data, wipe deletes it; each has a threshold of its own', async () => {
  z('cancel', 'web', '--as', 'alice')
  second()
  await until('it is cancelled', 60, async () => (await status('web')).state === 'cancelled')
  z('group', 'change', 'team', '--threshold', 'wipe=3', '--as', 'alice')
  second()
  z('wipe', 'web', '--as', 'alice')
  second()
  assert.equal(j<unknown[]>('proposals').length, 1, 'two of three are not enough to wipe')
  second('dora')
  assert.deepEqual(j('proposals'), [])
  assert.match(z('log', 'web'), /wipe {2}version 4/)
})

test('farms, nodes and groups are shown as the chain has them', () => {
  const farm = j<{ name: string; nodes: string[] }>('farm', 'show', 'farm1')
  assert.deepEqual([farm.name, farm.nodes], ['farm1', ['node1']])
  const node = j<{ country: string; used: Record<string, number> }>('node', 'show', 'node2')
  assert.deepEqual([node.country, node.used.ram], ['DE', 0], 'nothing stays booked')
  assert.equal(j<{ freezeSeconds: number }>('group', 'show', 'team').freezeSeconds, 60)
  const named = (what: string) => j<{ name: string }[]>(what, 'ls').map(({ name }) => name)
  assert.deepEqual(['key', 'group', 'farm', 'node'].map(named), [
    ['alice', 'bob', 'carol', 'dora'],
    ['team'],
    ['farm1', 'farm2'],
    ['node1', 'node2'],
  ])
  const exported = JSON.parse(z('grid', 'export'))
  const facts = ['chainId', 'contract', 'format', 'genesis', 'hub', 'peers', 'relayer', 'rpc', 'since']
  assert.deepEqual(Object.keys(exported).sort(), facts, 'nothing but what everyone may know')
})
