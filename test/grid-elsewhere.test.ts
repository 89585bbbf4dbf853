// A grid of one's own on a chain that is there already: the commands of docs/operating/chain.md as they stand there, line by line.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { freePort } from '#sys'
import type { View } from './grid.ts'
import { busyboxTree, dockerArchive, ROOT, startNode, until } from './harness.ts'
import { giveKeys, PASSPHRASE } from './keys.ts'
import { lendTemplates } from './templates.ts'

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'takes a minute: ZOS_NIGHTLY=1' }

/** The lines of the block below the heading, without what explains them; of several commands each. */
function commands(): string[] {
  const page = readFileSync(join(ROOT, 'docs/operating/chain.md'), 'utf8')
  const block = page.split('### A grid on it, step by step\n```\n')[1]!.split('\n```')[0]!
  return block.split('\n').flatMap((line) => line.replace(/ +#.*/, '').split(/; +/))
}

test('each line of the page, in its order; then a group deploys there and its node runs it', nightly, async () => {
  const node = startNode()
  const children: ChildProcess[] = []
  after(() => {
    for (const child of children.reverse()) child.kill('SIGTERM')
    node[Symbol.dispose]()
  })
  const [port, relay, hub] = [await freePort(), await freePort(), await freePort()]
  const rpc = `http://127.0.0.1:${port}`
  const daemon = ['src/contract/engine/daemon.ts', '--dir', join(node.work, 'chain'), '--port', String(port)]
  const chain = spawn(process.execPath, daemon, { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'] })
  children.push(chain)
  await once(chain.stdout, 'data')
  writeFileSync(join(node.work, 'payer'), randomBytes(32).toString('hex'), { mode: 0o600 })
  const tree = busyboxTree(join(node.work, 'tree'), { 'bin/web': '#!/bin/sh\nexec sleep 1d\n' })
  node.ok(['publish', dockerArchive(join(node.work, 'web.tar'), tree, { Cmd: ['sh', '/bin/web'] }), 'web'])
  await giveKeys(node, ['alice', 'bob'])
  lendTemplates(join(node.work, 'n1/templates'))

  const env: NodeJS.ProcessEnv = {
    ...process.env,
    ZOS_HOME: node.home,
    ZOS_HUB: `dir:${node.hub}`,
    ZOS_PASSPHRASE: PASSPHRASE,
  }
  let address = ''
  const filled = (line: string) =>
    line
      .replace('=FILE', `=${join(node.work, 'payer')}`)
      .replace('--rpc URL[,URL…]', `--rpc ${rpc}`)
      .replace('--hub URL[,URL…]', `--hub http://127.0.0.1:${hub}`)
      .replace('--name URL', `--name http://127.0.0.1:${hub}`)
      .replace('IP:PORT', `127.0.0.1:${relay}`)
      .replace('ADDRESS', address)
      .replace('--home DIR', '--home n1')
      .replace('--dir DIR --port N', `--dir store --port ${hub}`)
      .replace('NAME', 'n1')
      .replace(/\bFARM\b/g, 'ours')
      .replace('OWNER', 'alice')
      .replace('CC', 'BE')
      .replace(/^tools\//, `${ROOT}/tools/`)
      .replace(/src\/hub/, `${ROOT}/src/hub`)
      .replace(/^zos /, `${ROOT}/zos `)
  const said = new Map<string, string>()
  for (const line of commands()) {
    const [, name, value] = /^export (\w+)=(.*)$/.exec(filled(line)) ?? []
    if (name) env[name] = join(node.work, value!.replace(`${node.work}/`, ''))
    else if (/ run | src\/hub/.test(line)) {
      const child = spawn('sh', ['-c', `exec ${filled(line)}`], {
        cwd: node.work,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      children.push(child)
      for (const out of [child.stdout!, child.stderr!])
        out.on('data', (d: Buffer) => said.set(line, `${said.get(line) ?? ''}${d}`))
      if (/mycelium run/.test(line))
        address = await until('its address', 60, () => /^([0-9a-f:]+) \(relay only/m.exec(said.get(line) ?? '')?.[1])
    } else {
      const r = spawnSync('sh', ['-c', filled(line)], { cwd: node.work, env, encoding: 'utf8', timeout: 120_000 })
      assert.equal(r.status, 0, `${line}: ${r.stderr}`)
    }
  }
  assert.ok(commands().length >= 8, 'the page has its block')

  const zos = (...args: string[]) => {
    const r = spawnSync(join(ROOT, 'zos'), args, { cwd: node.work, env, encoding: 'utf8', timeout: 120_000 })
    assert.equal(r.status, 0, `zos ${args.join(' ')}: ${r.stderr}`)
    return r.stdout
  }
  const spec = 'name: web\nworkloads:\n  - { name: web, image: web, memory: 64m, disk: 64m }\n'
  writeFileSync(join(node.work, 'web.yaml'), spec)
  zos('group', 'create', 'team', '--member', 'alice', '--member', 'bob', '--threshold', '2')
  const { id } = JSON.parse(zos('deploy', 'web.yaml', '--as', 'alice', '--json')) as { id: string }
  zos('approve', id, '--as', 'bob')
  const view = await until('its node to run it', 180, () => {
    const now = JSON.parse(zos('status', 'web', '--json')) as View
    return now.slots[0]?.state === 'running' ? now : undefined
  }).catch((cause) => {
    throw new Error([...said].map(([line, text]) => `${line}\n${text}`).join('\n'), { cause })
  })
  assert.deepEqual([view.slots[0]!.node, view.slots[0]!.farm, view.version], ['n1', 'ours', 1])
  assert.match([...said.values()].join('\n'), /posted by 0x/, 'by the relayer')
})
