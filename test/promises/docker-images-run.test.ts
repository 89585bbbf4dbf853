import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { freePort } from '#sys'
import { busyboxTree, dockerArchive, ROOT, sha256, startNode, until } from '../harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

const tree = busyboxTree(join(node.work, 'tree'), { 'www/index.html': 'the page\n' })
const source = dockerArchive(join(node.work, 'web.tar'), tree, {
  Cmd: ['httpd', '-f', '-p', '80', '-h', '/www'],
  Env: ['PATH=/bin', 'FROM_IMAGE=yes'],
  WorkingDir: '/www',
})

test('an archive is published and lists with name and digest', () => {
  node.ok(['publish', source, 'web'], { timeout: 300 })
  const [image] = node.json<{ name: string; digest: string; root: string }[]>(['images', '--json'])
  assert.equal(image?.name, 'web')
  assert.match(image?.digest ?? '', /^[0-9a-f]{64}$/)
  assert.match(image?.root ?? '', /^[0-9a-f]{64}$/)
})

test('exit codes, both outputs and arguments are as with Docker', () => {
  const said = node.zos(['run', '--rm', 'web', 'sh', '-c', 'echo out; echo err >&2; exit 7'], { timeout: 300 })
  assert.deepEqual([said.code, said.text, /err\n/.test(said.err)], [7, 'out\n', true])
  const words = ['a b', '', 'new\nline', 'ü€', '$HOME', '--', '-x']
  assert.equal(node.ok(['run', '--rm', 'web', 'printf', '%s|', ...words]).text, `${words.join('|')}|`)
  assert.equal(node.zos(['run', '--rm', 'web', 'no-such-program']).code, 127)
  assert.equal(node.zos(['run', '--rm', 'web', '/etc/passwd']).code, 126)
  assert.equal(node.zos(['run', '--rm', '127.0.0.1:1/none:x', 'true']).code, 125)
  const unread = node.zos(['run', '--rm', '--env-file', '/none', 'web', 'true'])
  assert.deepEqual([unread.code, /Read --env-file "\/none"/.test(unread.err)], [125, true], 'Node takes it for its own')
})

test('environment, user, groups, folder and hostname come from the image and the flags', () => {
  const script = 'echo "$A,$FROM_IMAGE,$PWD,$(id -u),$(id -G),$(hostname)"'
  const said = node.ok([
    'run',
    '--rm',
    '-e',
    'A=1',
    '-w',
    '/tmp',
    '-u',
    'web',
    '--hostname',
    'h1',
    '--entrypoint',
    '/bin/sh',
    'web',
    '-c',
    script,
  ])
  assert.equal(said.text.trim(), '1,yes,/tmp,1234,1234 77,h1')
})

test('limits, groups, hosts and mounts are as asked', () => {
  const flags =
    '--ulimit nofile=100:200 --group-add 5 --add-host db:10.0.0.1 --mount type=tmpfs,target=/t,tmpfs-size=1m'
  const script =
    'echo $(ulimit -n) $(ulimit -Hn) $(id -G); grep -w db /etc/hosts; grep -c " /t tmpfs.*size=1024k" /proc/mounts'
  const said = node.ok(['run', '--rm', ...flags.split(' '), '--pids-limit', '50', 'web', 'sh', '-c', script])
  assert.equal(said.text, '100 200 0 5\n10.0.0.1\tdb\n1\n')
  const wrong = node.zos(['run', '--rm', '--tmpfs', '/t:size=lots', 'web', 'true'])
  assert.deepEqual([wrong.code, wrong.err], [125, 'zos: Mount tmpfs on /t with "size=lots": invalid argument\n'])
  const long = (count: number) =>
    node.zos(['run', '--rm', '-e', `A=${'x'.repeat(count)}`, 'web', 'sh', '-c', 'echo $A'])
  assert.equal(long(60_000).text.length, 60_001)
  const over = long(66_000)
  assert.deepEqual([over.code, /at most 65536 are possible/.test(over.err)], [125, true])
})

test('megabytes of input and output arrive whole', () => {
  const bytes = Buffer.alloc(4 << 20, 'pattern-')
  assert.equal(sha256(node.ok(['run', '-i', '--rm', 'web', 'cat'], { input: bytes, timeout: 200 }).out), sha256(bytes))
})

test('a server answers through its port; exec, cp and logs reach it; stop lets it end well', async () => {
  const port = await freePort()
  node.ok(['run', '-d', '--name', 'site', '-p', `${port}:80`, 'web'])
  const page = await until('the page', 60, () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      (r) => r.text(),
      () => undefined,
    ),
  )
  assert.equal(page, 'the page\n')
  assert.equal(node.zos(['exec', 'site', 'sh', '-c', 'exit 3']).code, 3)
  writeFileSync(join(node.work, 'in'), 'copied\n')
  node.ok(['cp', join(node.work, 'in'), 'site:/www/in.txt'])
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/in.txt`)).text(), 'copied\n')
  node.ok(['exec', 'site', 'sh', '-c', 'cd /www; cp index.html s; chown 1234 s; chmod 4751 s'])
  node.ok(['cp', 'site:/www/s', join(node.work, 'out')])
  const { mode, uid } = statSync(join(node.work, 'out'))
  assert.deepEqual([mode & 0o7777, uid], [0o751, process.getuid?.()])
  node.ok([
    'run',
    '-d',
    '--name',
    'term',
    'web',
    'sh',
    '-c',
    "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 1 & wait; done",
  ])
  await until('up', 30, () => /up/.test(node.ok(['logs', 'term']).text))
  node.ok(['stop', '-t', '10', 'term'])
  const term = node.json<{ name: string; exitCode: number }[]>(['ps', '-a', '--json']).find((w) => w.name === 'term')
  assert.equal(term?.exitCode, 5)
  assert.match(node.ok(['logs', 'term']).text, /bye/)
  assert.equal(node.ok(['logs', '--since', '1h', 'term']).text, 'up\nbye\n')
  assert.equal(node.ok(['logs', '--until', '1h', 'term']).text, '')
  assert.equal(node.ok(['logs', '-f', '--until', '1h', 'site'], { timeout: 30 }).text, '', 'it runs on')
  for (const [lines, last] of Object.entries({
    0: '',
    1: 'bye\n',
    9: 'up\nbye\n',
    all: 'up\nbye\n',
    '-1': 'up\nbye\n',
  }))
    assert.equal(node.ok(['logs', '--tail', lines, 'term']).text, last, lines)
  assert.match(node.ok(['logs', '-t', '-n', '1', 'term']).text, /^\d{4}-\d\d-\d\dT[\d:.]+Z bye\n$/)
  node.ok(['start', 'term'])
  await until('up again', 30, () => /up\nbye\nup/.test(node.ok(['logs', 'term']).text))
  assert.equal(node.ok(['exec', 'term', 'sh', '-c', 'ulimit -n']).text, '1048576\n')
})

test('created, started, waited for, renamed and looked at as with Docker', async () => {
  const script = 'echo in; read line; echo "$line"; exit 4'
  node.ok(['create', '-i', '--name', 'made', '-l', 'team=blue', '-p', '80', 'web', 'sh', '-c', script])
  const look = (format: string) => node.ok(['inspect', '-f', format, 'made']).text.trim()
  assert.equal(look('{{.State.Status}} {{.Name}} {{index .Config.Labels "team"}}'), 'created /made blue')
  assert.equal(node.ok(['wait', 'made']).text, '0\n', 'what was never started is not waited for')
  const said = node.zos(['start', '-ai', 'made'], { input: 'line\n' })
  assert.deepEqual([said.code, said.text], [4, 'in\nline\n'])
  assert.equal(look('{{.State.Status}} {{.State.ExitCode}}'), 'exited 4')
  assert.deepEqual(node.zos(['inspect', 'made', 'none']).code, 1)
  const whole = look('{{.Id}}')
  assert.equal(node.ok(['inspect', '-f', '{{.Name}}', whole.slice(0, 4)]).text, '/made\n')
  assert.match(node.zos(['logs', whole.slice(0, 3)]).err, /begins? so; write at least 4 digits of it/)

  node.ok(['run', '-d', '--name', 'old', '-p', '80', 'web', 'sh', '-c', 'sleep 1000; :'])
  node.ok(['rename', 'old', 'new'])
  assert.match(node.zos(['rename', 'made', 'new']).err, /another one has this name/)
  assert.match(node.zos(['rename', 'made', 'a b']).err, /letters, digits/)
  const [, port] = /^127\.0\.0\.1:(\d+)\n$/.exec(node.ok(['port', 'new', '80']).text) ?? []
  assert.ok(Number(port) > 0)
  assert.match(node.ok(['top', 'new']).text, /^PID .*\n1 .*sleep 1000; :\n/)
  assert.equal(node.ok(['ps', '--filter', 'name=^new$', '--format', '{{.Names}} {{.State}}']).text, 'new running\n')
  assert.equal(
    node.ok(['ps', '--filter', 'status=exited', '--filter', 'label=team=blue', '--format', '{{.Names}}']).text,
    'made\n',
  )
  // frozen, its clock stands still; it goes on where ours is
  node.ok(['pause', 'new'])
  assert.equal(node.ok(['ps', '--filter', 'status=paused', '--format', '{{.Names}}']).text, 'new\n')
  await new Promise((r) => setTimeout(r, 3000))
  node.ok(['unpause', 'new'])
  const asked = Date.now()
  const shown = Number(node.ok(['exec', 'new', 'date', '+%s']).text) * 1000
  assert.ok(shown > asked - 1500 && shown < Date.now() + 500, `${shown}, asked at ${asked}`)
  const [, id] = /^([0-9a-f]{12})\n$/.exec(node.ok(['ps', '-q', '--filter', 'name=new']).text) ?? []
  node.ok(['kill', '-s', 'KILL', id!])
  assert.equal(node.ok(['wait', 'new', 'made']).text, '137\n4\n')
  assert.equal(node.zos(['wait', 'none']).code, 1)
})

test('a terminal whose command was lost is attached to again', async () => {
  const script = 'while read -t 30 line; do echo "got $line"; [ "$line" = end ] && exit 6; done; echo no more input'
  node.ok(['create', '-it', '--name', 'tty', 'web', 'sh', '-c', script])
  const lost = spawn(join(ROOT, 'zos'), ['start', '-a', '-i', 'tty'], {
    env: { ...process.env, ZOS_HOME: node.home, ZOS_HUB: `dir:${node.hub}` },
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  lost.stdin.write('one\n')
  await until('it answers', 60, () => /got one/.test(node.zos(['logs', 'tty']).text))
  lost.kill('SIGKILL')
  await once(lost, 'exit')
  const back = node.zos(['attach', 'tty'], { input: 'end\n' })
  assert.deepEqual([back.code, /got end/.test(back.text)], [6, true])
})

test('cp carries folders and tar archives both ways, whatever their names', () => {
  const from = join(node.work, 'from')
  mkdirSync(join(from, 'sub'), { recursive: true })
  const files = [Buffer.from('bad\xff\xfename', 'latin1'), Buffer.from('ü €'), Buffer.from(`${'n'.repeat(200)}`)]
  for (const name of files) writeFileSync(Buffer.concat([Buffer.from(`${from}/`), name]), 'contents')
  // bytes that fill what may be under way, then entries that come at once behind them
  writeFileSync(join(from, 'a-large-one'), Buffer.alloc(3 << 20, 'x'))
  for (let n = 0; n < 40; n++) writeFileSync(join(from, `b${n}`), String(n))
  symlinkSync('b1', join(from, 'link'))
  linkSync(join(from, 'b2'), join(from, 'sub/same'))
  const differs = (dir: string) => String(spawnSync('diff', ['-r', '--no-dereference', from, dir]).stdout)

  node.ok(['run', '-d', '--name', 'box', 'web', 'sleep', '1000'])
  node.ok(['cp', from, 'box:/tmp'])
  node.ok(['cp', `${from}/.`, 'box:/tmp/from'])
  node.ok(['cp', 'box:/tmp/from', join(node.work, 'back')])
  assert.equal(differs(join(node.work, 'back')), '')

  const tar = (args: string[], input?: Buffer) => {
    const said = spawnSync('tar', args, { ...(input ? { input } : {}), maxBuffer: 1 << 26 })
    assert.equal(said.status, 0, String(said.stderr))
    return said.stdout
  }
  const sent = tar(['-C', node.work, '--owner=7', '--group=300000', '-cf', '-', 'from'])
  node.ok(['cp', '-', 'box:/root'], { input: sent })
  const got = node.ok(['cp', 'box:/root/from', '-']).out
  const unpacked = join(node.work, 'unpacked')
  mkdirSync(unpacked)
  tar(['--no-same-owner', '-C', unpacked, '-xf', '-'], got)
  assert.equal(differs(join(unpacked, 'from')), '')
  const listed = String(tar(['--numeric-owner', '-tvf', '-'], got))
  assert.match(listed, /^h.* 7\/300000 .*from\/sub\/same link to from\/b2$/m)
  assert.match(node.zos(['cp', '-', 'box:/root'], { input: sent.subarray(0, 100_000) }).err, /end of data/)
  const packed = gzipSync(sent)
  node.ok(['cp', '-', 'box:/'], { input: packed })
  node.ok(['exec', 'box', 'busybox', 'diff', '-r', '/root/from', '/from'])
  assert.match(
    node.zos(['cp', '-', 'box:/root'], { input: packed.subarray(0, packed.length / 2) }).err,
    /unexpected end/,
  )
  assert.match(node.zos(['cp', '-', 'box:/no'], { input: sent }).err, /no such folder/)
})

test('cp follows a link where it is asked to, and carries what files of /proc and /sys hold', () => {
  const from = join(node.work, 'from')
  // a link is a link, unless what it leads to is asked for
  const script = 'readlink /tmp/as-it-is; readlink /tmp/nowhere; [ -L /tmp/led ] || cat /tmp/led'
  symlinkSync('no-such-file', join(node.work, 'nowhere'))
  node.ok(['cp', join(node.work, 'nowhere'), 'box:/tmp/nowhere'])
  node.ok(['cp', join(from, 'link'), 'box:/tmp/as-it-is'])
  node.ok(['cp', '-L', join(from, 'link'), 'box:/tmp/led'])
  assert.equal(node.ok(['exec', 'box', 'sh', '-c', script]).text, 'b1\nno-such-file\n1')
  // what is named and cannot be copied is no success
  spawnSync('mkfifo', [join(node.work, 'fifo')])
  for (const [from, to] of [
    [join(node.work, 'fifo'), 'box:/tmp/fifo'],
    ['box:/dev/null', join(node.work, 'null')],
  ]) {
    const said = node.zos(['cp', from!, to!])
    assert.deepEqual(
      [said.code, /^zos: Copy ".*": it is .*, which is not copied\n$/.test(said.err)],
      [1, true],
      said.err,
    )
  }
  // files of /proc say that they are empty, those of /sys that they are longer than they are
  const shown = join(node.work, 'shown')
  for (const path of ['/proc/sys/kernel/ostype', '/proc/filesystems', '/sys/class/net/lo/mtu']) {
    node.ok(['cp', `box:${path}`, shown])
    assert.deepEqual(readFileSync(shown), node.ok(['exec', 'box', 'cat', path]).out)
    assert.ok(statSync(shown).size > 2, path)
  }
  // of the whole tree they are folders, as an image has them
  const all = join(node.work, 'all')
  node.ok(['cp', 'box:/', all], { timeout: 120 })
  assert.ok(existsSync(join(all, 'bin/busybox')))
  assert.deepEqual([readdirSync(join(all, 'proc')), readdirSync(join(all, 'sys'))], [[], []])
  node.ok(['cp', '/proc/sys/kernel/ostype', 'box:/tmp/ostype'])
  assert.equal(node.ok(['exec', 'box', 'cat', '/tmp/ostype']).text, 'Linux\n')
})

test('--rm removes a detached workload when it ends, too', async () => {
  node.ok(['run', '-d', '--rm', '--name', 'brief', 'web', 'true'])
  await until('it is gone', 30, () => node.ok(['ps', '-a', '-q', '--filter', 'name=brief']).text === '')
})
