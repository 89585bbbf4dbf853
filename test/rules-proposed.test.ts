// Deployments that name each other, both still waiting for approvals; names of what is not approved. On a local grid.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { until } from './harness.ts'
import { giveKeys } from './keys.ts'
import { startTalkers, type Talkers } from './talkers.ts'

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'two minutes: ZOS_NIGHTLY=1' }
type View = { version: number; slots: { state: string; version: number }[] }
let grid: Talkers
before(async () => {
  if (nightly.skip) return
  grid = await startTalkers(2, [])
  await giveKeys(grid.node, ['bob'])
  grid.z('group', 'create', 'crew', '--member', 'alice', '--member', 'bob', '--threshold', '2')
})
after(() => grid?.[Symbol.dispose]())

/** Alice proposes NAME, of WORKLOADS each with its node and further lines of its spec; gives the proposal. */
function propose(name: string, workloads: [name: string, on: string, ...more: string[]][]): string {
  const lines = workloads.flatMap(([workload, on, ...more]) => [
    `  - name: ${workload}`,
    ...['image: web', 'memory: 64m', 'cpus: "0.5"', 'ports: [80]', `nodes: [${on}]`, ...more].map((l) => `    ${l}`),
  ])
  const file = join(grid.node.work, `${name}.yaml`)
  writeFileSync(file, `name: ${name}\nworkloads:\n${lines.join('\n')}\n`)
  const before = open()
  grid.z('deploy', file, '--group', 'crew', '--as', 'alice')
  const [id] = open().filter((one) => !before.includes(one))
  assert.ok(id, `a proposal of ${name}`)
  return id
}
const open = (): string[] =>
  (JSON.parse(grid.z('proposals', '--group', 'crew', '--json')) as { id: string }[]).map(({ id }) => id)
const view = (name: string) => JSON.parse(grid.z('status', name, '--group', 'crew', '--json')) as View
const approve = (id: string) => grid.z('approve', id, '--group', 'crew', '--as', 'bob')
const runs = (name: string, slots: number) =>
  until(`"${name}" to run`, 180, () => {
    const { version, slots: there } = view(name)
    return there.length === slots && there.every((s) => s.state === 'running' && s.version === version)
  })
const fetched = (slot: string, url: string) => grid.run(slot, 'crew', `timeout 15 wget -q -O - ${url}`)
const allow = (from: string) => `allow: [{ from: [${from}, "@people"], ports: [80] }]`

test(
  'two that name each other and are both only proposed: approved in any order, each lets the other in',
  nightly,
  async () => {
    const shop = propose('shop', [
      ['web', 'node1', 'reach: [store/db]', allow('store/db')],
      ['idle', 'node1'],
    ])
    const store = propose('store', [['db', 'node2', 'reach: [shop/web]', allow('shop/web')]])
    assert.equal(open().length, 2)
    // the one proposed later first: it counts on keys that the other keeps for it
    approve(store)
    await runs('store', 1)
    approve(shop)
    await runs('shop', 2)
    for (const [slot, url, page] of [
      ['shop/0', 'http://db.store.zos/', 'db-0'],
      ['store/0', 'http://web.shop.zos/', 'web-0'],
    ] as const) {
      const said = await until(`${slot} to be let in`, 90, async () => {
        const answer = await fetched(slot, url)
        return answer.includes('exit 0') && answer
      })
      assert.equal(said, `${page}\nexit 0\n`)
    }
    assert.match(await fetched('shop/1', 'http://db.store.zos/'), /bad address.*\nexit 1/, 'nobody else of the shop')
  },
)

test('a workload has its name once its step is approved, and not before', nightly, async () => {
  const one = ['db', 'node2', 'reach: [shop/web]', allow('shop/web')] as [string, string, ...string[]]
  const next = propose('store', [one, ['late', 'node1', allow('db')]])
  assert.equal(await fetched('store/0', 'http://db/'), 'db-0\nexit 0\n')
  for (const name of ['late', 'late.store.zos'])
    assert.match(await fetched('store/0', `http://${name}/`), /bad address.*\nexit 1/, name)
  approve(next)
  await runs('store', 2)
  const said = await until('its name', 60, async () => {
    const answer = await fetched('store/0', 'http://late.store.zos/')
    return answer.includes('exit 0') && answer
  })
  assert.equal(said, 'late-1\nexit 0\n')
})
