// Volumes as their users know them: what is in one stays, who uses it is known, it grows, and what nobody uses goes.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from './harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())
node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'])

type Volume = { name: string; size: number; workload: string | null }
const volumes = () => node.json<Volume[]>(['volume', 'ls', '--json'])
const named = (name: string) => volumes().find((v) => v.name === name)
const run = (...args: string[]) => node.ok(['run', ...args]).text

test('what a workload wrote into a volume is there for the next one, and for itself after a start', () => {
  run('--name', 'first', '-v', 'data:/d', 'box', 'sh', '-c', 'date >> /d/log; echo kept > /d/file')
  assert.equal(
    run('--rm', '-v', 'data:/d:ro', 'box', 'sh', '-c', 'cat /d/file; touch /d/x 2>&1 || echo no'),
    ['kept', 'touch: /d/x: Read-only file system', 'no\n'].join('\n'),
  )
  node.ok(['start', '-a', 'first'])
  assert.equal(run('--rm', '-v', 'data:/d', 'box', 'sh', '-c', 'wc -l < /d/log'), '2\n')
})

test('a machine that waited takes volumes too, keeps them over a kill of the daemon, and lets go of them', async () => {
  await until('a machine to wait', 60, () => node.json<{ pool: number }>(['status', '--json']).pool > 0)
  const asked = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0])
  const script = 'echo one > /d/x; echo two > /e/x; sleep 1000'
  run('-d', '--name', 'taker', '-v', 'early:/d', '-v', 'late:/e', 'box', 'sh', '-c', script)
  const [{ pid }] = node.json<[{ pid: number }]>(['ps', '--json'])
  // proc(5): the time it started at, after the name in parentheses, in hundredths of a second since boot
  const started = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]) / 100
  assert.ok(started < asked, `QEMU is of ${started}, the command of ${asked}`)
  const daemon = node.json<{ pid: number }>(['status', '--json']).pid
  process.kill(daemon, 'SIGKILL')
  // on a busy machine it still takes a connection in, and what was told is not told again
  await until('its end', 20, () => !existsSync(`/proc/${daemon}`))
  node.ok(['exec', 'taker', 'sh', '-c', 'echo more >> /d/x; sync'], { timeout: 60 })
  node.ok(['rm', '-f', 'taker'])
  node.ok(['volume', 'grow', 'late', '17g'])
  // each at its own place: not the first one's disk twice
  assert.equal(run('--rm', '-v', 'late:/d', '-v', 'early:/e', 'box', 'cat', '/d/x', '/e/x'), 'two\none\nmore\n')
  node.ok(['volume', 'rm', 'early', 'late'])
})

test('a volume is one workload’s at a time, and is kept while a workload is made with it', () => {
  node.ok(['run', '-d', '--name', 'holder', '-v', 'data:/d', 'box', 'sleep', '1000'])
  const second = node.zos(['run', '--rm', '-v', 'data:/d', 'box', 'true'])
  assert.equal(second.code, 125)
  assert.match(second.err, /^zos: Mount volume "data": workload "holder" uses it; stop that one first\n$/)
  assert.match(node.zos(['volume', 'rm', 'data']).err, /uses it; stop that one first/)
  node.ok(['rm', '-f', 'holder'])
  const refused = node.zos(['volume', 'rm', 'data'])
  assert.deepEqual([refused.code, refused.err.trim().split('\n').length], [1, 1])
  assert.match(refused.err, /workload "first" is made with it; "zos rm" that one first/)
  assert.match(named('data')!.workload!, /^[0-9a-f]+$/, 'first, though it does not run')
})

test('a volume grows and never shrinks', () => {
  const room = () => Number(run('--rm', '-v', 'data:/d', 'box', 'sh', '-c', "df -k /d | awk 'NR > 1 {print $2}'"))
  const before = room()
  node.ok(['volume', 'grow', 'data', '24g'])
  assert.equal(named('data')!.size, 24 * 2 ** 30)
  assert.ok(room() > before * 1.4, `${room()} KiB, ${before} before`)
  assert.match(node.zos(['volume', 'grow', 'data', '1g']).err, /holds \d+ bytes already, and volumes do not shrink/)
})

test('it grows under a workload that goes on writing, also where that may only read, and outlives the end of its machine', async () => {
  const file = (name: string) => join(node.home, 'volumes', `${name}.ext4`)
  const script = 'while :; do echo line >> /a/x; sync; sleep 0.1; done'
  run('-d', '--name', 'grower', '-v', 'data:/a', '-v', 'small:/b:ro', 'box', 'sh', '-c', script)
  const room = (at: string) =>
    Number(node.ok(['exec', 'grower', 'sh', '-c', `df -k ${at} | awk 'NR > 1 {print $2}'`]).text) / 2 ** 20
  for (const [name, at] of [
    ['data', '/a'],
    ['small', '/b'],
  ] as const)
    for (const size of [32, 70]) {
      node.ok(['volume', 'grow', name, `${size}g`])
      assert.equal(statSync(file(name)).size, size * 2 ** 30)
      const has = room(at)
      assert.ok(has > size * 0.95 && has <= size, `${has} of ${size} GiB`)
    }
  node.ok(['pause', 'grower'])
  assert.match(node.zos(['volume', 'grow', 'data', '80g']).err, /it is paused: "zos unpause grower" first/)
  node.ok(['unpause', 'grower'])
  // what was paused for is made up for; then its machine dies
  node.ok(['volume', 'grow', 'data', '90g'])
  const lines = Number(node.ok(['exec', 'grower', 'sh', '-c', 'wc -l < /a/x']).text)
  const [{ pid }] = node.json<[{ pid: number }]>(['ps', '--json'])
  process.kill(pid, 'SIGKILL')
  node.zos(['wait', 'grower'])
  assert.ok(lines > 5)
  const seen = Number(run('--rm', '-v', 'data:/a', '-v', 'small:/b', 'box', 'sh', '-c', 'wc -l < /a/x'))
  assert.ok(seen >= lines - 1, `${seen} of ${lines} lines`)
  node.ok(['rm', '-f', 'grower'])
  for (const name of ['data', 'small']) {
    const checked = spawnSync('e2fsck', ['-fn', file(name)], { encoding: 'utf8' })
    assert.equal(checked.status, 0, checked.stdout)
  }
  const removed = node.zos(['volume', 'rm', 'none', 'small'])
  assert.deepEqual([removed.code, removed.text], [1, 'small\n'], 'one that is not there keeps no other')
})

test('prune removes what no workload is made with: without a name, or with -a all of it', () => {
  run('--name', 'own', '-v', '/d', 'box', 'true')
  run('--name', 'gone', '-v', '/d', 'box', 'true')
  run('--rm', '-v', 'free:/d', 'box', 'true')
  node.ok(['rm', 'gone'])
  const all = volumes()
  assert.equal(all.length, 4)
  const [orphan] = all.filter((v) => v.workload === null && v.name !== 'free')
  assert.match(node.ok(['volume', 'prune', '-f']).text, new RegExp(`^${orphan!.name}\nfreed: \\d.*\n$`))
  assert.equal(volumes().length, 3)
  assert.deepEqual(
    node.json<Volume[]>(['volume', 'prune', '-a', '--json']).map((v) => v.name),
    ['free'],
  )
  node.ok(['rm', 'first', 'own'])
  assert.equal(node.json<Volume[]>(['volume', 'prune', '-a', '--json']).length, 2)
  assert.deepEqual(volumes(), [])
  assert.match(node.zos(['volume', 'rm', 'data']).err, /there is none of that name/)
})

test('a volume is made, and looked at, as with Docker', () => {
  assert.equal(node.ok(['volume', 'create', '--size', '32m', 'made']).text, 'made\n')
  assert.equal(node.ok(['volume', 'create', 'made']).text, 'made\n', 'one that is there is left as it is')
  assert.equal(named('made')!.size, 32 << 20)
  const other = node.zos(['volume', 'create', '--size', '64m', 'made'])
  assert.deepEqual([other.code, other.text], [1, ''])
  assert.match(
    other.err,
    /^zos: Make volume "made": there is one already, of 33554432 bytes; "zos volume grow"[^\n]*\n$/,
  )
  for (const name of ['../made', 'a'.repeat(129)])
    assert.match(node.zos(['volume', 'create', name]).err, /^zos: Make volume ".*": letters, digits/)
  const [, anonymous] = /^([0-9a-f]{64})\n$/.exec(node.ok(['volume', 'create']).text) ?? []
  assert.ok(anonymous)

  const [made] = JSON.parse(node.ok(['volume', 'inspect', 'made']).text)
  assert.deepEqual([made.Name, made.Driver, made.Scope, made.Zos.Size], ['made', 'local', 'local', 32 << 20])
  assert.ok(Math.abs(Date.parse(made.CreatedAt) - Date.now()) < 600_000, made.CreatedAt)
  assert.equal(readFileSync(made.Mountpoint).length, 32 << 20)
  assert.equal(node.ok(['inspect', '-f', '{{.Name}} {{.Zos.UsedBy}}', 'made']).text, 'made <no value>\n')
  const absent = node.zos(['volume', 'inspect', 'made', 'absent'])
  assert.deepEqual([absent.code, JSON.parse(absent.text).length], [1, 1])
  assert.match(absent.err, /^zos: Find volume "absent": there is none of that name/)
  assert.equal(run('--rm', '-v', 'made:/d', 'box', 'sh', '-c', 'echo 1 > /d/x; cat /d/x'), '1\n')
  assert.match(node.ok(['volume', 'prune']).text, new RegExp(`^${anonymous}\n`))
})
