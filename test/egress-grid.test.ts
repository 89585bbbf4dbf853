// A workload of a grid that may reach the Internet, in a real machine; "the Internet" is a namespace. Needs root and passt.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { after, before, test } from 'node:test'
import { run, tryRun } from '#sys'
import { noNamespaces } from './overlay.ts'
import { startTalkers, type Talkers } from './talkers.ts'

const skip = process.env.ZOS_NIGHTLY === '1' ? noNamespaces() : 'by night'
const id = `zg${process.pid % 10000}`
const SERVER = '203.0.113.9'
let grid: Talkers | undefined
let server: ChildProcess | undefined

before(async () => {
  if (skip) return
  const ip = (...args: string[]) => run('ip', args)
  await ip('netns', 'add', id)
  await ip('link', 'add', `${id}a`, 'type', 'veth', 'peer', 'name', `${id}b`, 'netns', id)
  await ip('addr', 'add', '198.51.100.5/30', 'dev', `${id}a`)
  await ip('link', 'set', `${id}a`, 'up')
  for (const [address, device] of [
    ['198.51.100.6/30', `${id}b`],
    [`${SERVER}/32`, 'lo'],
  ] as const)
    await ip('-n', id, 'addr', 'add', address, 'dev', device)
  for (const device of ['lo', `${id}b`]) await ip('-n', id, 'link', 'set', device, 'up')
  await ip('route', 'add', `${SERVER}/32`, 'via', '198.51.100.6')
  const serve = `require('http').createServer((_,r)=>r.end('outside\\n')).listen(80,'::')`
  server = spawn('ip', ['netns', 'exec', id, process.execPath, '-e', serve], { stdio: 'ignore' })
  grid = await startTalkers(1, ['team'])
  await grid.deploy('out', 'team', [
    ['may', 'node1', '80', 'egress: internet'],
    ['not', 'node1', '80'],
  ])
})

after(async () => {
  grid?.[Symbol.dispose]()
  server?.kill('SIGKILL')
  if (skip) return
  await tryRun('ip', ['netns', 'del', id])
  await tryRun('ip', ['link', 'del', `${id}a`])
})

const fetched = (slot: string, url: string) => grid!.run(slot, 'team', `timeout 10 wget -q -O - ${url}`)

test('it fetches a page from outside; nothing on a network of the node, and its neighbour nothing at all', {
  skip,
}, async () => {
  assert.equal(await fetched('out/0', `http://${SERVER}/`), 'outside\nexit 0\n')
  assert.match(await fetched('out/0', 'http://198.51.100.6/'), /exit 1/)
  assert.match(await fetched('out/0', 'http://169.254.169.254/'), /exit 1/)
  assert.match(await fetched('out/1', `http://${SERVER}/`), /unreachable.*\nexit 1/i)
  assert.equal(await fetched('out/1', 'http://may.out.zos/'), 'may-0\nexit 0\n')
})
