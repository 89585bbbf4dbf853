import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from '../harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())

type Row = { name: string; pid: number; state: string; reason: string }
const row = (name: string) => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === name)!

test('two containers: two QEMU processes, two kernels, two boots, none of them the host', () => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { timeout: 300 })
  for (const name of ['one', 'two']) node.ok(['run', '-d', '--name', name, 'box', 'sleep', '1000'], { timeout: 300 })
  const [one, two] = [row('one'), row('two')]
  assert.notEqual(one.pid, two.pid)
  for (const { pid } of [one, two]) assert.match(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), /^[^\0]*qemu/)
  const boot = (name: string) => node.ok(['exec', name, 'cat', '/proc/sys/kernel/random/boot_id']).text.trim()
  const boots = new Set([boot('one'), boot('two'), readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()])
  assert.equal(boots.size, 3)
  assert.notEqual(node.ok(['exec', 'one', 'uname', '-r']).text.trim(), release())
})

test('QEMU has a user of its own, no network and no new privileges', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, () => {
  const { pid } = row('one')
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  assert.notEqual(/^Uid:\t(\d+)/m.exec(status)?.[1], '0')
  assert.notEqual(
    /^Uid:\t(\d+)/m.exec(status)?.[1],
    /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${row('two').pid}/status`, 'utf8'))?.[1],
  )
  assert.equal(/^Seccomp:\t(\d)/m.exec(status)?.[1], '2')
  // nothing but a loopback that is down: no interface carries an address, no route exists
  assert.equal(readFileSync(`/proc/${pid}/net/route`, 'utf8').trim().split('\n').length, 1)
  assert.equal(readFileSync(`/proc/${pid}/net/if_inet6`, 'utf8'), '')
})

test('a machine that dies is shown with its reason and harms nobody else', async () => {
  process.kill(row('one').pid, 'SIGKILL')
  const gone = await until('it is seen', 20, () => (row('one').state === 'exited' ? row('one') : undefined))
  assert.match(gone.reason, /machine ended/)
  assert.equal(node.ok(['exec', 'two', 'echo', 'alive']).text, 'alive\n')
  // who waits for it is told, too
  const waiting = node.zosLater(['run', '--rm', '--name', 'waited', 'box', 'sleep', '1000'])
  const { pid } = await until('it runs', 60, () => (row('waited')?.state === 'running' ? row('waited') : undefined))
  process.kill(pid, 'SIGKILL')
  const { code, err } = await waiting
  assert.deepEqual([code, /^zos: its machine ended: [^\n]*\n$/.test(err)], [137, true], err)
})
