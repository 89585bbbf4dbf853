// Small images of every odd kind; real programs from Debian's packages are in test/workloads/ and run by night.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode } from '../harness.ts'
import { compileProbe, grantNetAdmin, imageOf, installMusl, manyLayers } from '../workloads/trees.ts'

const node = startNode()
after(() => node[Symbol.dispose]())
const dir = (name: string) => join(node.work, name)
const publish = async (name: string, layers: string[], config = {}, architecture?: string) =>
  node.zos(
    ['publish', await imageOf(node.work, layers, { Env: ['PATH=/bin:/usr/bin'], ...config }, architecture), name],
    {
      timeout: 300,
    },
  )
const root = process.getuid?.() === 0

const base = busyboxTree(dir('base'))
compileProbe(join(base, 'bin/probe'), 'static')
for (const name of ['bin/as-root', 'bin/with-rights']) copyFileSync(join(base, 'bin/probe'), join(base, name))
chmodSync(join(base, 'bin/as-root'), 0o4755)
chmodSync(join(base, 'bin/with-rights'), 0o755)
if (root) grantNetAdmin(join(base, 'bin/with-rights'))
writeFileSync(join(base, 'disk.img'), '')
truncateSync(join(base, 'disk.img'), 8 << 20)
spawnSync('mkfs.ext4', ['-q', join(base, 'disk.img')], { stdio: 'inherit' })
writeFileSync(Buffer.concat([Buffer.from(join(base, 'etc/')), Buffer.from([0xff, 0xfe, 0x20])]), 'bytes, not letters\n')

test('127 layers, and a file that only a byte string can name', async () => {
  assert.equal((await publish('web', [base, ...manyLayers(node.work, 126)])).code, 0)
  const script = 'ls /layers; cat /layers/last; cat "$(printf \'/etc/\\377\\376 \')"'
  assert.equal(
    node.ok(['run', '--rm', 'web', 'sh', '-c', script], { timeout: 300 }).text,
    'last\nonly-125\n125\nbytes, not letters\n',
  )
})

test('setuid programs and file capabilities work, for users who have none', {
  skip: root ? false : 'needs root',
}, () => {
  const said = node.ok(['run', '--rm', '-u', 'web', 'web', 'sh', '-c', 'probe; as-root; with-rights'])
  const [plain, setuid, capable] = said.text.trim().split('\n')
  assert.equal(plain, 'uid=1234 euid=1234 caps=0000000000000000')
  assert.equal(setuid, 'uid=1234 euid=0 caps=000001ffffffffff')
  assert.equal(capable, 'uid=1234 euid=1234 caps=0000000000001000')
})

test('a dynamic musl program and nothing else, on a merged and on an unmerged /usr', async () => {
  const unmerged = dir('unmerged')
  compileProbe(join(unmerged, 'bin/probe'), 'dynamic')
  installMusl(join(unmerged, 'lib'))
  const merged = dir('merged')
  compileProbe(join(merged, 'usr/bin/probe'), 'dynamic')
  installMusl(join(merged, 'usr/lib'))
  for (const name of ['bin', 'lib']) symlinkSync(`usr/${name}`, join(merged, name))
  for (const name of ['unmerged', 'merged']) {
    mkdirSync(join(dir(name), 'etc'))
    writeFileSync(join(dir(name), 'etc/word'), `${name}\n`)
    assert.equal((await publish(name, [dir(name)], { Cmd: ['probe', '/etc/word'] })).code, 0)
    assert.equal(node.ok(['run', '--rm', name]).text, `uid=0 euid=0 caps=000001ffffffffff\n${name}\n`)
  }
})

test('FROM scratch with one static program: no shell, no folders, no users', async () => {
  const scratch = dir('scratch')
  compileProbe(join(scratch, 'probe'), 'static')
  assert.equal((await publish('scratch', [scratch], { Entrypoint: ['/probe'] })).code, 0)
  assert.match(node.ok(['run', '--rm', 'scratch']).text, /^uid=0 euid=0 /)
  assert.match(node.ok(['run', '--rm', '-u', '7:9', 'scratch']).text, /^uid=7 euid=7 caps=0000000000000000/)
})

test('an image for another architecture is refused by name', async () => {
  const said = await publish('foreign', [base], {}, process.arch === 'arm64' ? 'amd64' : 'arm64')
  assert.notEqual(said.code, 0)
  assert.match(said.err, process.arch === 'arm64' ? /amd64/ : /arm64/)
  assert.ok(!node.json<{ name: string }[]>(['images', '--json']).some((i) => i.name === 'foreign'))
})

test('what takes a kernel of its own works with no flag: loop, TUN, WireGuard, FUSE; and not with --read-only', () => {
  const script = [
    'mkdir /m && mount -o loop /disk.img /m && echo kept > /m/f && umount /m',
    'mount -o loop,ro /disk.img /m && cat /m/f && umount /m',
    'tunctl -t tap0 >/dev/null && ip link show tap0 | grep -c tap0:',
    'ip link add wg0 type wireguard && ip addr add 10.9.0.1/24 dev wg0 && ip link set wg0 up && ip addr show wg0 | grep -c 10.9.0.1',
    'exec 3<>/dev/fuse && echo fuse',
  ].join(' && ')
  assert.equal(node.ok(['run', '--rm', 'web', 'sh', '-c', script], { timeout: 200 }).text, 'kept\n1\n1\nfuse\n')
  const confined = node.zos([
    'run',
    '--rm',
    '--read-only',
    'web',
    'sh',
    '-c',
    'ip link add wg0 type wireguard || mount -t tmpfs x /tmp',
  ])
  assert.notEqual(confined.code, 0)
  assert.match(confined.err, /not permitted|denied/)
})
