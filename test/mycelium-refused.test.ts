// What a node of the overlay refuses to start with or to be asked. Needs root and /dev/net/tun.
import assert from 'node:assert/strict'
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { createKeyFile } from '#mycelium'
import { tryRun } from '#sys'
import { asUser } from './as-user.ts'
import { noNamespaces } from './overlay.ts'

const zos = resolve(import.meta.dirname, '../zos')

test('what cannot be is told in one line: keys, addresses, peers, rights', { skip: noNamespaces() }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), 'zos-refused-'))
  t.after(() => rmSync(work, { recursive: true, force: true }))
  const key = join(work, 'a.key')
  await createKeyFile(key)
  const short = join(work, 'short.key')
  writeFileSync(short, 'x')
  const refused = async (pattern: RegExp, command: string[], args: string[], program = zos) => {
    const [file, ...words] = [...command, program, 'mycelium', ...args] as [string, ...string[]]
    const { code, stderr } = await tryRun(file, words, { timeout: 20_000 })
    assert.notEqual(code, 0, args.join(' '))
    assert.match(stderr, pattern)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
  const start = ['run', '--key-file', key, '--api', `unix:${work}/other.sock`]
  await refused(/^zos: .*short\.key.*32/, [], ['inspect', short])
  await refused(/^zos: .*missing\.key/, [], ['inspect', join(work, 'missing.key')])
  await refused(/^zos: .*nowhere/, [], [...start, '--peer', 'tcp://nowhere:1:2'])
  await refused(/^zos: .*quic/, [], [...start, '--peer', 'quic://10.92.1.1:9651'])
  const nowhere = ['run', '--key-file', key, '--api', 'unix:/proc/zos/a.sock']
  await refused(
    /^zos: Serve the API on "unix:\/proc\/zos\/a\.sock": a node makes no folder in .*another --api\n$/,
    [],
    nowhere,
  )
  await refused(/^zos: .*not-an-address/, [], ['ping', 'not-an-address'])
  await refused(/^zos: .*ZOS_MYCELIUM_API/, ['env', `ZOS_MYCELIUM_API=unix:${work}/nobody.sock`], ['status'])
  // a user without the right to make interfaces: the key alone is theirs
  const own = join(work, 'own.key')
  copyFileSync(key, own)
  chownSync(own, 65_534, 65_534)
  chmodSync(work, 0o777)
  const nobody = asUser(65_534, join(work, 'seen'), '--inh-caps=-all')
  const env = ['env', `HOME=${work}`, `ZOS_HOME=${join(work, 'home')}`, `NODE_COMPILE_CACHE=${join(work, 'cache')}`]
  const may = ['run', '--key-file', own, '--api', `unix:${work}/other.sock`, '--tun', 'zos7']
  await refused(
    /^zos: .*TUN interface "zos7": .*(run it as root|CAP_NET_ADMIN)/,
    [...nobody.before, ...env],
    may,
    nobody.zos,
  )
})
