// A private image: the group, and the nodes it is placed on, get it from the hub; nobody else does. Of two hubs one is down.
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Hub, hubCall } from '#cas'
import { hubDomain, type Key, keyOf, openKey } from '#contract'
import { freePort } from '#sys'
import { passFor } from '../src/cli/grid/private.ts'
import { runBehind } from './behind.ts'
import { PAGE, startGrid } from './grid.ts'
import { until } from './harness.ts'
import { PASSPHRASE } from './keys.ts'

const grid = await startGrid(2)
const { z, j, refused, spec, second, runs } = grid
let node: ChildProcess | undefined
after(() => {
  node?.kill('SIGTERM')
  grid[Symbol.dispose]()
})

const file = join(grid.node.home, 'grid/grid.json')
const facts = JSON.parse(readFileSync(file, 'utf8'))
const [url] = facts.hub as [string]
const hub = hubCall({ host: '127.0.0.1', port: Number(new URL(url).port) }, url)
const nobody = `http://127.0.0.1:${await freePort()}`

const member = (name: string): Promise<Key> => openKey(join(grid.node.home, 'keys'), name, PASSPHRASE)
const keyOfNode = (name: string): Key => {
  const { secret } = JSON.parse(readFileSync(join(grid.home(name), 'node.json'), 'utf8'))
  return keyOf(name, Buffer.from(secret.slice(2), 'hex'))
}
let domain = ''
let image = ''
/** The hub as whoever has KEY asks it about the domain. */
const as = (key: Key): Hub => {
  const secret = generateKeyPairSync('ed25519').privateKey
  return hub.as(passFor({ chainId: facts.chainId, contract: facts.contract }, key, { domain, hub: url, secret }))
}
const reads = async (call: Hub): Promise<number> => (await call('GET', `/objects/${image}`)).status
const lines = ['private: true', 'ports: [80]', 'nodes: [node1]']

test('a group deploys an image of its own with a hub that is up and one that is down; its node runs it', async () => {
  writeFileSync(file, JSON.stringify({ ...facts, hub: [nobody, url] }))
  node = await runBehind(grid.home('node1'), facts.rpc[0], `${nobody},${url}`)
  z('deploy', spec('web', lines), '--as', 'alice')
  second()
  await runs('web')
  assert.equal(await grid.page('web/0'), PAGE)
  image = j<{ name: string; digest: string }[]>('images').find(({ name }) => name === 'web')!.digest
  const { group } = j<{ name: string; group: `0x${string}` }[]>('group', 'ls').find(({ name }) => name === 'team')!
  domain = hubDomain(group, 'web')
})

test('members and the placed node read it; a stranger is refused in one line, and without a signature there is none', async () => {
  assert.deepEqual([await reads(as(await member('alice'))), await reads(as(await member('carol')))], [200, 200])
  assert.equal(await reads(as(keyOfNode('node1'))), 200)
  const stranger = /: Read "[0-9a-f]{64}\/web": 0x[0-9a-f]{40} is neither a member of the group nor a node/
  await assert.rejects(reads(as(keyOfNode('node2'))), { code: 'not-authorized', message: stranger })
  z('key', 'new', 'mallory')
  await assert.rejects(reads(as(await member('mallory'))), { code: 'not-authorized', message: stranger })
  assert.equal(await reads(hub), 404)
  const line = refused('deploy', spec('web', lines), '--as', 'mallory')
  assert.match(line, /is not one of its members/)
})

test('migrated, it runs where it is placed now, with what that node signed itself', async () => {
  z('migrate', 'web/0', '--to', 'node2', '--as', 'alice')
  second()
  await until('it to run on node2', 120, async () => {
    const { slots } = await grid.status('web')
    return slots.some((s) => s.node === 'node2' && s.state === 'running')
  })
  assert.equal(await grid.page('web/0'), PAGE)
  assert.equal(await reads(as(keyOfNode('node2'))), 200)
})

test('on a machine of her own a member runs it from the grid and brings the next one there; a stranger does not', async () => {
  const { work, home } = grid.node
  const own = join(work, 'own')
  mkdirSync(own, { recursive: true })
  cpSync(join(home, 'keys'), join(own, 'keys'), { recursive: true })
  symlinkSync(join(home, 'templates'), join(own, 'templates'))
  const env = { ZOS_HOME: own, ZOS_HUB: '', ZOS_GRID: file, ZOS_PASSPHRASE: PASSPHRASE }
  const there = (...args: string[]) => grid.node.zos(args, { env, timeout: 300 })
  const group = ['--group', `0x${domain.slice(0, 64)}`]
  try {
    const stranger = there('publish', 'grid:web/web', 'web', '--as', 'mallory', ...group)
    assert.equal(stranger.code, 1)
    assert.match(stranger.err, /^zos: [^\n]+ is not sealed to "mallory"; [^\n]+\n$/)
    const ran = there('run', '--rm', '--as', 'carol', ...group, 'grid:web/web', 'cat', '/www/index.html')
    assert.equal(ran.text, PAGE, ran.err)

    mkdirSync(join(work, 'next'))
    writeFileSync(join(work, 'next/file'), 'of the next version')
    const said = there(
      'publish',
      '--json',
      `dir:${join(work, 'next')}`,
      'next',
      '--into',
      'web',
      '--as',
      'carol',
      ...group,
    )
    assert.equal(said.code, 0, said.err)
    image = JSON.parse(said.text).digest
    assert.deepEqual([await reads(hub), await reads(as(await member('bob')))], [404, 200])
  } finally {
    there('down')
  }
})

test('whom a member names reads it with a hub key of their own, and nobody else with the same words', () => {
  const { work } = grid.node
  const given = join(work, 'web.grant')
  const reader = (key: string, ...args: string[]) =>
    grid.node.zos(args, {
      env: { ZOS_HOME: join(work, 'reader'), ZOS_HUB: '', ZOS_GRID: file, ZOS_HUB_KEY: join(work, key) },
      timeout: 300,
    })
  const key = reader('mine', 'key', 'hub', join(work, 'mine')).text.trim()
  assert.equal(reader('mine', 'key', 'hub', join(work, 'mine')).text.trim(), key, 'made once')
  writeFileSync(given, z('grant', 'web', '--to', key, '--as', 'alice'))
  const done = reader('mine', 'publish', '--quiet', `grant:${given}`, 'web')
  assert.equal(done.code, 0, done.err)
  reader('other', 'key', 'hub', join(work, 'other'))
  const other = reader('other', 'publish', `grant:${given}`, 'web')
  assert.match(other.err, /^zos: Use grant: it was given to another key than "[0-9a-f]{64}"\n$/)
  assert.match(refused('grant', 'web', '--to', key, '--as', 'mallory'), /is not sealed to "mallory"/)
  assert.match(refused('grant', 'web', '--to', key, '--days', '31', '--as', 'alice'), /at most 30/)
})
