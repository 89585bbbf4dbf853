import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from './harness.ts'

const node = startNode()
const volumes = join(node.home, 'volumes')
after(() => {
  node.zos(['down'], { timeout: 60 })
  execFileSync('umount', ['-l', volumes])
  node[Symbol.dispose]()
})

type Row = { name: string; state: string; reason: string; pid: number }
const row = () => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === 'writer')!

const WRITER =
  'i=0; while sleep 0.1; do i=$((i+1)); cat /bin/busybox /bin/busybox > /data/f$i && sync && echo wrote $i; done'

test('the disk under a volume is full: the workload stands still and says why; with room it goes on, nothing lost', {
  skip: process.getuid?.() !== 0 && 'mounting needs root',
  timeout: 300_000,
}, async () => {
  mkdirSync(volumes, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', volumes])
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
  execFileSync('mount', ['-o', 'remount,size=400m', volumes])
  node.ok(['unpause', 'writer'])
  const written = () => node.ok(['logs', 'writer']).text.trim().split('\n').length
  const before = written()
  await until('it writes on', 60, () => written() > before + 1)
  const script =
    'cd /data; for f in $(ls -t | tail -n +2); do md5sum < $f; done | sort -u | wc -l; dmesg | grep -c "I/O error"'
  assert.equal(node.zos(['exec', 'writer', 'sh', '-c', script], { timeout: 120 }).text, '1\n0\n')
  node.ok(['rm', '-f', 'writer'])
})
