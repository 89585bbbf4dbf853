// The commands a newcomer is shown, in a home with a long name that is closed to others, as root and as somebody else.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { asUser } from './as-user.ts'
import { busyboxTree, dockerArchive, ROOT, sha256 } from './harness.ts'

const isRoot = process.getuid?.() === 0
const hasScript = spawnSync('script', ['--version']).status === 0
const work = mkdtempSync(join(tmpdir(), 'zos-tour-'))
chmodSync(work, 0o755)

/** A home whose own path is longer than a socket's name may be; as USER where one is named. */
function openHome(name: string, user?: number) {
  const place = join(work, name)
  const home = join(place, 'a-long-name-'.repeat(12), 'home')
  const runtime = join(place, 'run')
  for (const dir of [home, runtime]) mkdirSync(dir, { recursive: true })
  for (const dir of [place, home, runtime]) chmodSync(dir, 0o700)
  if (user) spawnSync('chown', ['-R', `${user}:${user}`, place])
  const who = user ? asUser(user, join(work, `seen-by-${user}`)) : { before: [], zos: join(ROOT, 'zos') }
  const env = { PATH: process.env.PATH!, HOME: place, XDG_RUNTIME_DIR: runtime, ZOS_HOME: home }
  const zos = (...args: string[]) => {
    const [file, ...words] = [...who.before, who.zos, ...args]
    const { status, stdout, stderr } = spawnSync(file!, words, { cwd: place, env, encoding: 'utf8', timeout: 300_000 })
    return { code: status, text: stdout, err: stderr }
  }
  const ok = (...args: string[]) => {
    const said = zos(...args)
    assert.equal(said.code, 0, `zos ${args.join(' ')}: ${said.err.slice(-600)}`)
    return said.text
  }
  after(() => zos('down'))
  const run = join(user || !isRoot ? runtime : '/run', `zos-${sha256(home).slice(0, 12)}`)
  return { env, home, run, zos, ok, json: (...args: string[]) => JSON.parse(ok(...args, '--json')) }
}
after(() => rmSync(work, { recursive: true, force: true })) // after the homes are down

const tree = busyboxTree(join(work, 'tree'), { 'etc/motd': 'one\n' })
const own = openHome('own')

test('doctor says that a workload can run; what is published is listed with its digests', () => {
  assert.match(own.ok('doctor'), /\nA workload can run here\.\n$/)
  own.ok('publish', `dir:${tree}`, 'web')
  const [image] = own.json('images')
  assert.deepEqual([image.name, image.digest.length, image.root.length], ['web', 64, 64])
  assert.ok(image.size > 1e6)
})

test('flist lists, inspects, verifies, extracts and compares', () => {
  assert.match(own.ok('flist', 'ls', 'web', 'etc'), /0:0 +4 +\S*motd\n/)
  assert.equal(JSON.parse(own.ok('flist', 'inspect', 'web')).digest, own.json('images')[0].digest)
  assert.match(own.ok('flist', 'verify', 'web'), /^web: \d+ files, .* all as published\n$/)
  own.ok('flist', 'extract', 'web', join(work, 'out'))
  assert.equal(readFileSync(join(work, 'out/etc/motd'), 'utf8'), 'one\n')
  writeFileSync(join(tree, 'etc/motd'), 'two\n')
  writeFileSync(join(tree, 'etc/new'), '')
  rmSync(join(tree, 'etc/group'))
  own.ok('publish', `dir:${tree}`, 'web2')
  const lines = own.ok('flist', 'diff', 'web', 'web2').split('\n')
  const changed = lines
    .filter((line) => /motd|new|group/.test(line))
    .map((line) => line.split(' (')[0]!.replace(' /', ' '))
  assert.deepEqual(changed.sort(), ['+ etc/new', '- etc/group', '~ etc/motd'])
})

test('what is not a published name is published at its first use', () => {
  const archive = dockerArchive(join(work, 'a.tar'), tree, { Cmd: ['cat', '/etc/motd'] })
  assert.equal(own.ok('run', '--rm', archive), 'two\n')
  assert.notEqual(
    own.ok('run', '--rm', 'web', 'uname', '-r').trim(),
    spawnSync('uname', ['-r'], { encoding: 'utf8' }).stdout.trim(),
  )
})

test('a file of variables is for the program alone: Node and the command take nothing from it', () => {
  const file = join(work, 'env')
  writeFileSync(file, 'ZOS_HOME=/nowhere\r\nNODE_OPTIONS=--nonsense\n')
  const shown = own.ok('run', '--rm', '--env-file', file, 'web', 'sh', '-c', 'echo $ZOS_HOME $NODE_OPTIONS')
  assert.equal(shown, '/nowhere --nonsense\n')
  const missing = own.zos('run', '--rm', '--env-file', `${file}s`, 'web', 'true')
  assert.deepEqual([missing.code, missing.err.split('\n').length], [125, 2])
  assert.match(missing.err, /^zos: Read --env-file ".*envs": ENOENT/)
  writeFileSync(file, 'A B=1\n')
  const spaced = own.zos('run', '--rm', '--env-file', file, 'web', 'true')
  assert.deepEqual(
    [spaced.code, spaced.err.split('\n')[0]],
    [125, `zos: Read --env-file: "A B" has a space, and is no variable's name`],
  )
})

test('ps, status, stats and store stat say what they promise', () => {
  own.ok('run', '-d', '--name', 'site', '--memory', '64m', '--restart', 'on-failure:3', 'web', 'sleep', '1000')
  const [row] = own.json('ps', '-a')
  assert.deepEqual([row.name, row.image, row.state, row.exitCode], ['site', 'web', 'running', null])
  assert.match(row.id, /^[0-9a-f]{64}$/)
  assert.equal(typeof row.reason, 'string')
  assert.match(readFileSync(`/proc/${row.pid}/cmdline`, 'latin1'), /^qemu/)
  const status = own.json('status')
  assert.ok(status.pid > 1 && ['kvm', 'tcg'].includes(status.accel) && 'workloads' in status && 'pool' in status)
  const [stats] = own.json('stats', 'site')
  assert.deepEqual([stats.name, stats.memory.limit], ['site', 64 << 20])
  assert.ok(stats.memory.current > 0 && stats.host.memory > 1 << 20 && stats.processes >= 1)
  const stored = own.json('store', 'stat')
  assert.ok(stored.local.objects > 0 && stored.local.bytes > 0)
  const { healed, lost, checked } = own.json('store', 'scrub')
  assert.deepEqual([healed, lost, checked >= stored.local.objects], [[], [], true])
  assert.deepEqual(own.json('store', 'gc').removed, 0, 'a workload runs, tags name the rest, and all of it is young')
  const onto = own.zos('cp', 'site:/etc', join(tree, 'etc/motd'))
  assert.deepEqual([onto.code, onto.err.split('\n').length], [1, 2])
  assert.match(onto.err, /^zos: Copy to ".*\/etc\/motd": it is no folder/)
})

test('a publish shows on a terminal how far it is, and elsewhere, when it is short, nothing', {
  skip: !hasScript && 'needs script',
}, () => {
  const shown = spawnSync('script', ['-qec', `${join(ROOT, 'zos')} publish dir:${tree} seen`, '/dev/null'], {
    env: own.env,
    encoding: 'utf8',
    timeout: 300_000,
  })
  assert.match(shown.stdout, /\r\x1b\[Kreading seen: [\d.]+ \w+, [\d.]+ \w+\/s, \d+ files\r\x1b\[K/)
  assert.match(shown.stdout, /\r\x1b\[Kseen: \d+ files, .* chunks were new/)
  assert.equal(own.zos('publish', `dir:${tree}`, 'seen').err, '')
})

test('a terminal is one, of the size of the one it is used from', { skip: !hasScript && 'needs script' }, async () => {
  const inside = `${join(ROOT, 'zos')} run --rm -it web sh -c 'tty; stty size; exit 3'`
  // its input stays open: at an end of it "script" types a sign of its own, which is echoed before our output or after
  const script = spawn('script', ['-qec', `stty rows 20 cols 70; ${inside}`, '/dev/null'], {
    env: own.env,
    timeout: 300_000,
  })
  const [shown, [status]] = await Promise.all([text(script.stdout), once(script, 'close')])
  assert.equal(status, 3)
  assert.equal(shown.replaceAll('\r', ''), '/dev/pts/0\n20 70\n')
})

test('logs -f goes on to the end; stop says what was asked for, and -t kills what does not listen', async () => {
  own.ok('run', '-d', '--name', 'counts', 'web', 'sh', '-c', 'for i in 1 2 3; do echo $i; sleep 1; done')
  assert.equal(own.ok('logs', '-f', 'counts'), '1\n2\n3\n')
  const end = async (flags: string[], trap: string, ...stop: string[]) => {
    const script = `trap '${trap}; echo up; while :; do sleep 1; done`
    own.ok('run', '-d', '--name', 'ends', ...flags, 'web', 'sh', '-c', script)
    while (!own.ok('logs', 'ends').includes('up')) await new Promise((done) => setTimeout(done, 100))
    own.ok('stop', ...stop, 'ends')
    const { state, exitCode } = own.json('ps', '-a').find((w: { name: string }) => w.name === 'ends')
    own.ok('rm', 'ends')
    return [state, exitCode]
  }
  assert.deepEqual(await end([], "' TERM", '-t', '1'), ['exited', 137])
  assert.deepEqual(await end(['--stop-timeout', '1'], "' TERM"), ['exited', 137])
  assert.deepEqual(await end(['--stop-signal', 'USR1'], "exit 4' USR1"), ['exited', 4])
})

test('all of --memory is usable, and no more; who takes more ends the whole workload', () => {
  const run = (...command: string[]) => own.zos('run', '--rm', '--memory', '64m', 'web', ...command)
  const fill = (bytes: string) => ['dd', 'if=/dev/zero', 'of=/dev/null', `bs=${bytes}`, 'count=1']
  assert.deepEqual([run(...fill('62M')).code, run(...fill('66M')).code], [0, 137])
  const { code, text } = run('sh', '-c', `${fill('66M').join(' ')}; echo lived on`)
  assert.deepEqual([code, text], [137, ''])
})

test('the home stays closed; sockets are in a folder that down removes', () => {
  assert.equal(statSync(own.home).mode & 0o777, 0o700)
  assert.ok(readdirSync(own.run).length > 0)
  const sockets = readdirSync(own.home, { recursive: true, withFileTypes: true }).filter((e) => e.isSocket())
  assert.deepEqual(sockets, [])
  own.ok('down')
  assert.throws(() => statSync(own.run), { code: 'ENOENT' })
  assert.equal(statSync(own.home).mode & 0o777, 0o700)
})

test('who is not root runs workloads too, with the sockets in XDG_RUNTIME_DIR', {
  skip: !isRoot && 'as whoever runs it',
}, () => {
  const other = openHome('other', 54_321)
  chownSync(tree, 54_321, 54_321)
  other.ok('publish', `dir:${tree}`, 'web')
  assert.equal(other.ok('run', '--rm', '-v', 'data:/d', 'web', 'sh', '-c', 'echo kept > /d/x; id -u'), '0\n')
  assert.equal(other.ok('run', '--rm', '-v', 'data:/d', 'web', 'cat', '/d/x'), 'kept\n')
  assert.equal(statSync(other.run).uid, 54_321)
  other.ok('down')
  assert.throws(() => statSync(other.run), { code: 'ENOENT' })
})
