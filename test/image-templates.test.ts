import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from './harness.ts'

const nightly = process.env.ZOS_NIGHTLY === '1'
/** Starts out of one template. */
const CLONES = nightly ? 100 : 8

const node = startNode()
after(() => node[Symbol.dispose]())

const templates = () => join(node.home, 'templates')
/** Folders of templates that hold an image's tree. */
const ofImages = () => readdirSync(templates()).filter((name) => /-[0-9a-f]{32}$/.test(name))
const run = (...args: string[]) => node.ok(['run', '--rm', ...args], { timeout: 300 }).text

const hashOf = (file: string): string => String(spawnSync('sha256sum', [file]).stdout).slice(0, 64)

test('an image started twice gets a template, and its later starts come out of it', async () => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { timeout: 300 })
  for (let i = 0; i < 2; i++) run('box', 'true')
  await until('its template', 60, () => ofImages().length === 1)
  const { pool } = await until('clones that wait', 60, () => {
    const status = node.json<{ pool: number }>(['status', '--json'])
    return status.pool >= 4 ? status : undefined
  })
  assert.ok(pool >= 4)
})

test('workloads out of one template share nothing', () => {
  const facts =
    'hostname; cat /etc/hostname /etc/machine-id /proc/sys/kernel/random/boot_id /proc/sys/kernel/random/uuid'
  const all = Array.from({ length: CLONES }, () =>
    run('box', 'sh', '-c', `${facts}; date +%s; ls /kept 2>&1; echo mine > /kept`).trim().split('\n'),
  )
  for (const [n, what] of ['host name', 'its file', 'machine id', 'boot id', 'uuid'].entries())
    assert.equal(new Set(all.map((lines) => lines[n])).size, CLONES, what)
  for (const lines of all) {
    assert.equal(lines[0], lines[1])
    assert.ok(Math.abs(Number(lines[5]) - Date.now() / 1000) < 300, `the clock says ${lines[5]}`)
    assert.match(lines[6]!, /No such file/)
  }
})

test('its files stay as they were made', () => {
  const dir = join(templates(), ofImages()[0]!)
  const before = ['ram', 'state.bin'].map((f) => hashOf(join(dir, f)))
  const upper = statSync(join(dir, 'upper.ext4'))
  for (let i = 0; i < CLONES; i++) run('box', 'sh', '-c', 'dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null')
  assert.deepEqual(
    ['ram', 'state.bin'].map((f) => hashOf(join(dir, f))),
    before,
  )
  const { mtimeMs, ctimeMs } = statSync(join(dir, 'upper.ext4'))
  assert.deepEqual([mtimeMs, ctimeMs], [upper.mtimeMs, upper.ctimeMs])
})

test('what a plain start lacks is there all the same', async () => {
  assert.equal(run('-v', 'kept:/data', 'box', 'sh', '-c', 'echo 1 > /data/f; cat /data/f'), '1\n')
  assert.equal(run('-v', 'kept:/data', '--tmpfs', '/t', 'box', 'sh', '-c', 'touch /t/x; cat /data/f'), '1\n')
  assert.match(node.zos(['run', '--rm', '--read-only', 'box', 'touch', '/x']).err, /Read-only file system/)
  assert.equal(run('-t', 'box', 'sh', '-c', 'tty; stty size').replace(/\r/g, ''), '/dev/pts/0\n24 80\n')
  assert.equal(run('--init', 'box', 'sh', '-c', 'echo $$'), '2\n')
  assert.equal(run('-u', 'web', '-w', '/made/here', 'box', 'sh', '-c', 'id -u; pwd'), '1234\n/made/here\n')
  assert.equal(node.ok(['run', '-i', '--rm', 'box', 'wc', '-c'], { input: 'x'.repeat(300_000) }).text, '300000\n')
  assert.equal(node.zos(['run', '--rm', 'box', 'nothing']).code, 127)
  assert.equal(node.zos(['run', '--rm', 'box', '/etc/passwd']).code, 126)
  assert.equal(run('-e', `LONG=${'x'.repeat(50_000)}`, 'box', 'sh', '-c', 'expr length $LONG'), '50000\n')
  const long = node.zos(['run', '--rm', '-e', `LONG=${'x'.repeat(100_000)}`, 'box', 'true'])
  assert.equal(long.code, 125)
  assert.match(long.err, /take 100\d+ bytes, at most 65536/)
  // its writable layer is its own from then on, mounted anew
  node.ok(['run', '--name', 'again', 'box', 'sh', '-c', 'cat /mine 2>/dev/null; echo kept > /mine'])
  node.ok(['restart', 'again'])
  await until('the second run', 30, () => node.ok(['logs', 'again']).text === 'kept\n')
})

test('a template that the disk changed is thrown away, not used', async () => {
  node.ok(['down'])
  const [name] = ofImages()
  const ram = join(templates(), name!, 'ram')
  const fd = openSync(ram, 'r+')
  const bytes = Buffer.alloc(4096)
  for (let at = 32 << 20; bytes.every((b) => b === 0); at += 4096) {
    readSync(fd, bytes, 0, 4096, at)
    if (!bytes.every((b) => b === 0)) writeSync(fd, Buffer.from([bytes[100]! ^ 1]), 0, 1, at + 100)
  }
  closeSync(fd)
  // a new file may get the number of the old one
  const { mtimeMs } = statSync(ram)
  for (let i = 0; i < 2; i++) assert.equal(run('box', 'echo', 'right'), 'right\n')
  await until('another one in its place', 60, () => {
    const now = statSync(ram, { throwIfNoEntry: false })
    return now !== undefined && now.mtimeMs !== mtimeMs
  })
})
