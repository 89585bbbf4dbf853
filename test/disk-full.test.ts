import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from './harness.ts'

const node = startNode()
const volumes = join(node.home, 'volumes')
const workloads = join(node.home, 'workloads')
const mounted: string[] = []
after(() => {
  node.zos(['down'], { timeout: 60 })
  for (const dir of mounted) execFileSync('umount', ['-l', dir])
  node[Symbol.dispose]()
})

/** A disk of SIZE for the folder DIR, which may be made larger. */
function mountSmall(dir: string, size: string): void {
  mkdirSync(dir, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=711`, 'tmpfs', dir])
  mounted.push(dir)
}
const grow = (dir: string, size: string) => execFileSync('mount', ['-o', `remount,size=${size}`, dir])

type Row = { name: string; state: string; reason: string; pid: number }
const row = (name = 'writer') => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === name)!

const WRITER =
  'i=0; while sleep 0.1; do i=$((i+1)); cat /bin/busybox /bin/busybox > /data/f$i && sync && echo wrote $i; done'

test('the disk under a volume is full: the workload stands still and says why; with room it goes on, nothing lost', {
  skip: process.getuid?.() !== 0 && 'mounting needs root',
  timeout: 300_000,
}, async () => {
  mountSmall(volumes, '24m')
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'])
  node.ok(['run', '-d', '--name', 'writer', '-v', 'data:/data', 'box', 'sh', '-c', WRITER], { timeout: 300 })
  const full = await until('it is full', 120, () => (row().state === 'paused' ? row() : undefined))
  assert.match(
    full.reason,
    /^volume "data" cannot be written: this machine's disk is full; free space, then "zos unpause/,
  )

  for (const args of [
    ['exec', 'writer', 'true'],
    ['stop', 'writer'],
    ['unpause', 'writer'],
  ])
    assert.match(node.zos(args, { timeout: 60 }).err, /disk is full; free space/, args.join(' '))
  assert.equal(node.ok(['run', '--rm', 'box', 'echo', 'others run']).text, 'others run\n')
  grow(volumes, '400m')
  node.ok(['unpause', 'writer'])
  const written = () => node.ok(['logs', 'writer']).text.trim().split('\n').length
  const before = written()
  await until('it writes on', 60, () => written() > before + 1)
  const script =
    'cd /data; for f in $(ls -t | tail -n +2); do md5sum < $f; done | sort -u | wc -l; dmesg | grep -c "I/O error"'
  assert.equal(node.zos(['exec', 'writer', 'sh', '-c', script], { timeout: 120 }).text, '1\n0\n')
  node.ok(['rm', '-f', 'writer'])
})

test("the disk under the store's workloads is full: output waits, layers stand still, what is said is kept later", {
  skip: process.getuid?.() !== 0 && 'mounting needs root',
  timeout: 300_000,
}, async () => {
  node.ok(['down'])
  mountSmall(workloads, '12m')
  const copies = 10
  const script = `cat${' /bin/busybox'.repeat(copies)}`
  const fill = 'until [ -e /go ]; do sleep 0.2; done; while cat /bin/busybox >> /f; do sync; sleep 0.1; done'
  node.ok(['run', '-d', '--name', 'writer', 'box', 'sh', '-c', fill], { timeout: 300 })
  node.ok(['run', '-d', '--name', 'loud', 'box', 'sh', '-c', script], { timeout: 300 })
  const held = await until('its output waits', 120, () => (row('loud').reason === '' ? undefined : row('loud')))
  assert.match(held.reason, /^its output waits: Keep output in ".*": this machine's disk is full; free space$/)
  assert.equal(held.state, 'running')
  node.ok(['exec', 'writer', 'touch', '/go'])
  await until('the writer stands still', 120, () => row().state === 'paused')
  assert.match(
    node.zos(['unpause', 'writer'], { timeout: 60 }).err,
    /its writable layer cannot be written: .*disk is full/,
  )
  assert.equal(row().state, 'paused')
  assert.match(node.zos(['run', '--rm', 'box', 'true'], { timeout: 60 }).err, /full|No space/i)

  grow(workloads, '400m')
  node.ok(['unpause', 'writer'])
  node.ok(['exec', 'writer', 'true'])
  await until('all of the output', 120, () => row('loud').state === 'exited')
  const said = node.ok(['logs', 'loud'], { timeout: 120 }).out
  const whole = Buffer.concat(Array.from({ length: copies }, () => readFileSync('/bin/busybox')))
  assert.ok(said.equals(whole), `${said.length} bytes of ${whole.length}`)
  node.ok(['rm', '-f', 'writer', 'loud'])
})
