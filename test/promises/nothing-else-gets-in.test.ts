import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { places } from '../../src/wire/index.ts'
import { ROOT, until } from '../harness.ts'
import { addressOf, startTalkers, type Talkers } from '../talkers.ts'

let grid: Talkers
let two: string
before(async () => {
  grid = await startTalkers(1, ['team', 'others'])
  await grid.deploy('pair', 'team', [
    ['one', 'node1', '80'],
    ['two', 'node1', '80'],
  ])
  await grid.deploy('third', 'others', [['web', 'node1', '80']])
  two = await addressOf(grid, 'pair/1', 'team')
})
after(() => grid?.[Symbol.dispose]())

/** `zos mycelium` of the daemon at API. */
const asking = (api: string, ...args: string[]) =>
  grid.node.zos(['mycelium', ...args], { env: { ZOS_MYCELIUM_API: api } })

/** What the node's overlay has dropped, by reason. */
function dropped(reason: string): number {
  const run = places({ ZOS_HOME: join(grid.node.home, 'grid/nodes/node1') }).run
  const said = asking(`unix:${join(run, 'mycelium.sock')}`, 'status', '--json')
  return (JSON.parse(said.text) as { packets: Record<string, number> }).packets[reason] ?? 0
}

test('a port that is not declared is refused, though something listens there and the asker is of the deployment', async () => {
  await grid.run('pair/1', 'team', 'httpd -p 81 -h /www')
  assert.equal(await grid.run('pair/1', 'team', 'wget -q -O - http://127.0.0.1:81/'), 'two-1\nexit 0\n')
  assert.equal(await grid.run('pair/0', 'team', 'wget -q -O - http://two/'), 'two-1\nexit 0\n')
  assert.match(await grid.run('pair/0', 'team', 'wget -q -O - http://two:81/'), /Permission denied\nexit 1/)
})

test("another group's workload on the same node is refused, by any protocol", async () => {
  assert.match(await grid.run('third/0', 'others', `wget -q -O - http://[${two}]/`), /Permission denied\nexit 1/)
  assert.match(await grid.run('third/0', 'others', `ping -c 1 -W 2 ${two}`), /100% packet loss/)
})

test('root in a workload cannot speak in the name of another', async () => {
  const one = await addressOf(grid, 'pair/0', 'team')
  const before = dropped('foreign-source')
  const said = await grid.run('third/0', 'others', `ip addr add ${one}/128 dev eth0 && ping -c 2 -W 2 -I ${one} ${two}`)
  assert.match(said, /100% packet loss/)
  assert.ok(dropped('foreign-source') >= before + 2)
})

test('a peer of the node with a key of its own reaches it, and no workload', async () => {
  const key = join(grid.node.work, 'outsider.key')
  grid.node.ok(['mycelium', 'keygen', key])
  const api = `unix:${join(grid.node.work, 'outsider.sock')}`
  const { peers } = JSON.parse(readFileSync(join(grid.node.home, 'grid/grid.json'), 'utf8')) as { peers: string[] }
  const args = ['mycelium', 'run', '--key-file', key, '--peer', peers[0]!, '--api', api, '--no-discovery']
  const outsider = spawn(join(ROOT, 'zos'), args, {
    stdio: 'ignore',
    env: { ...process.env, ZOS_HOME: grid.node.home },
  })
  try {
    await until('its connection', 20, () => /up/.test(asking(api, 'peers').text))
    const before = dropped('not-a-member')
    // a peer that is up has not heard of every route yet
    await until('what it sends to come as far as the card', 30, () => {
      assert.notEqual(asking(api, 'ping', two, '--count', '1').code, 0)
      return dropped('not-a-member') > before
    })
    assert.notEqual(asking(api, 'ping', two, '--count', '3').code, 0)
  } finally {
    outsider.kill('SIGTERM')
  }
})
