// What an image says of its checks (HEALTHCHECK) and of folders that are volumes (VOLUME), as Docker's users know it.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, dockerArchive, startNode, until } from './harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const tree = busyboxTree(join(node.work, 'tree'), { 'data/from-image': 'kept\n' })
const second = 1_000_000_000
/** Says nothing until it is asked: what begins is seen before it is judged, however slow the machine is. */
const CHECK = 'until [ -e /tmp/asked ]; do sleep 0.1; done; echo probe $(id -u); test -e /tmp/well'
const source = dockerArchive(join(node.work, 'checked.tar'), tree, {
  Cmd: ['sleep', '1000'],
  User: 'web',
  Healthcheck: { Test: ['CMD-SHELL', CHECK], Interval: second, Retries: 2 },
  Volumes: { '/data': {}, '/more': {} },
})
node.ok(['publish', source, 'checked'], { timeout: 300 })

type Health = { Status: string; FailingStreak: number; Log: { ExitCode: number; Output: string }[] }
const inspect = <T>(name: string, format: string) =>
  JSON.parse(node.ok(['inspect', '-f', `{{json ${format}}}`, name]).text) as T
const health = (name: string) => inspect<Health>(name, '.State.Health')
const status = (name: string, wanted: string) =>
  until(`${name} to be ${wanted}`, 90, () => health(name).Status === wanted)
const ps = (name: string, format: string) =>
  node.ok(['ps', '-a', '--filter', `name=^${name}$`, '--format', format]).text.trim()

test("an image's check runs as its user; what it says is shown, kept over a dead daemon, and begins anew at a start", async () => {
  node.ok(['run', '-d', '--name', 'a', 'checked'])
  assert.equal(health('a').Status, 'starting')
  assert.match(ps('a', '{{.Status}}'), /^Up .* \(health: starting\)$/)
  node.ok(['exec', 'a', 'touch', '/tmp/asked'])
  await status('a', 'unhealthy')
  assert.ok(health('a').FailingStreak >= 2)
  const { ExitCode, Output } = health('a').Log.at(-1)!
  assert.deepEqual([ExitCode, Output], [1, 'probe 1234\n'])
  assert.equal(node.ok(['ps', '-q', '--filter', 'health=healthy']).text, '')
  node.ok(['exec', 'a', 'touch', '/tmp/well'])
  await status('a', 'healthy')
  assert.deepEqual([health('a').FailingStreak, health('a').Log.at(-1)!.ExitCode], [0, 0])
  assert.match(ps('a', '{{.Status}}'), /^Up .* \(healthy\)$/)
  assert.equal(node.ok(['ps', '--filter', 'health=healthy', '--format', '{{.Names}}']).text, 'a\n')
  const { pid } = node.json<{ pid: number }>(['status', '--json'])
  process.kill(pid, 'SIGKILL')
  await until('another daemon', 60, () => node.zos(['ps']).code === 0)
  assert.equal(health('a').Status, 'healthy')
  node.ok(['exec', 'a', 'rm', '/tmp/well'])
  await status('a', 'unhealthy')
  node.ok(['exec', 'a', 'rm', '/tmp/asked'])
  node.ok(['restart', '-t', '0', 'a'], { timeout: 200 })
  assert.equal(health('a').Status, 'starting')
  node.ok(['rm', '-f', 'a'])
})

test('flags count over the image: another line, times, none at all; a check that hangs is ended', async () => {
  const flags = [
    '--health-cmd',
    'sleep 600; true',
    '--health-interval',
    '500ms',
    '--health-timeout',
    '1s',
    '--health-retries',
    '1',
  ]
  node.ok(['run', '-d', '--name', 'b', ...flags, 'checked'])
  await status('b', 'unhealthy')
  const { ExitCode, Output } = health('b').Log.at(-1)!
  assert.deepEqual([ExitCode, Output], [-1, 'Health check exceeded timeout (1s)'])
  await until('further checks of b', 60, () => health('b').Log.length >= 4)
  // what earlier ones started is gone: none but the one under way, if any, is left
  const left = "ps -o args | grep -c '^sleep [6]00' || true"
  assert.match(node.ok(['exec', 'b', 'sh', '-c', left]).text, /^[01]\n$/)
  const period = ['--health-start-period', '10m', '--health-start-interval', '300ms', '--health-cmd', 'test -e /tmp/up']
  node.ok(['run', '-d', '--name', 'c', '--health-interval', '10m', '--health-retries', '1', ...period, 'checked'])
  await until('some checks of c', 60, () => health('c').Log.length >= 3)
  assert.deepEqual([health('c').Status, health('c').FailingStreak], ['starting', 0])
  node.ok(['exec', 'c', 'touch', '/tmp/up'])
  await status('c', 'healthy')
  node.ok(['run', '-d', '--name', 'd', '--no-healthcheck', 'checked'])
  assert.equal(inspect<{ Health?: Health }>('d', '.State').Health, undefined)
  assert.equal(
    node.json<{ name: string; health: string | null }[]>(['ps', '--json']).find((w) => w.name === 'd')?.health,
    null,
  )
  for (const bad of [
    ['--no-healthcheck', '--health-cmd', 'true'],
    ['--health-interval', 'soon'],
    ['--health-retries', '-1'],
  ]) {
    const said = node.zos(['run', '--rm', ...bad, 'checked', 'true'])
    assert.deepEqual([said.code, said.err.trim().split('\n').length], [125, 1], said.err)
  }
  node.ok(['rm', '-f', 'b', 'c', 'd'])
})

test("an image's volumes begin with what is in it, outlive the workload, and go with --rm and rm -v", async () => {
  const volumes = () => node.json<{ name: string }[]>(['volume', 'ls', '--json']).map((v) => v.name)
  const before = volumes()
  const mounts = (name: string) => inspect<{ Name: string; Destination: string }[]>(name, '.Mounts')
  const script = 'cat /data/from-image; grep -c " /data ext4" /proc/mounts; grep -c " /more ext4" /proc/mounts'
  assert.equal(node.ok(['run', '--rm', 'checked', 'sh', '-c', script]).text, 'kept\n1\n1\n')
  await until('their end', 30, () => volumes().length === before.length)
  // what is read-only may still write where the image says so
  const written = 'echo new > /data/x && cat /data/x; touch /bin/x'
  const said = node.zos(['run', '--name', 'v', '-u', 'root', '--read-only', 'checked', 'sh', '-c', written])
  assert.deepEqual([said.code, said.text], [1, 'new\n'])
  const [data, more] = mounts('v').map((m) => m.Name)
  assert.match(data!, /^[0-9a-f]{64}$/)
  node.ok(['rm', 'v'])
  assert.ok(volumes().includes(data!) && volumes().includes(more!), 'rm alone leaves them')
  assert.equal(node.ok(['run', '--rm', '-v', `${data}:/data`, 'checked', 'cat', '/data/x']).text, 'new\n')
  assert.ok(volumes().includes(data!), 'what was named is not removed by --rm')
  node.ok(['volume', 'rm', data!, more!])
  node.ok(['run', '-d', '--name', 'w', '-v', 'named:/data', '-v', '/own', 'checked'])
  assert.deepEqual(
    mounts('w').map((m) => [m.Destination, m.Name === 'named']),
    [
      ['/data', true],
      ['/own', false],
      ['/more', false],
    ],
  )
  node.ok(['rm', '-f', '-v', 'w'])
  assert.deepEqual(volumes(), [...before, 'named'])
})
