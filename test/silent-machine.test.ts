// A daemon is killed, and one of the machines it left does not answer the next one.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, startNode, until } from './harness.ts'

const node = startNode()
const stopped = new Set<number>()
after(() => {
  for (const pid of stopped) signal(pid, 'SIGCONT')
  node[Symbol.dispose]()
})

type Row = { name: string; pid: number; state: string; reason: string; exitCode: number | null }
const row = (name: string) => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === name)!
const status = () => node.json<{ pid: number }>(['status', '--json'])

function signal(pid: number, name: NodeJS.Signals): void {
  stopped.delete(pid)
  if (name === 'SIGSTOP') stopped.add(pid)
  process.kill(pid, name)
}

/** Stops the machine of workload NAME and kills the daemon; gives the machine's process. */
function leaveSilent(name: string): number {
  const { pid } = row(name)
  const daemon = status().pid
  signal(pid, 'SIGSTOP')
  process.kill(daemon, 'SIGKILL')
  return pid
}

/** A process that nobody has buried yet has no command line any more. */
function gone(pid: number): boolean {
  if (existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`, 'latin1') !== '') return false
  stopped.delete(pid)
  return true
}

test('a machine that does not answer: others go on, its calls say where they hang, it is taken up when it answers', {
  skip: process.env.ZOS_NIGHTLY !== '1' && 'patience is minutes; ZOS_NIGHTLY=1',
  timeout: 600_000,
}, async (t) => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { timeout: 300 })
  for (const name of ['silent', 'other', 'third'])
    node.ok(['run', '-d', '--name', name, 'box', 'sleep', '1000'], { timeout: 300 })

  await t.test('the next daemon is up, and what is not behind that machine works', () => {
    const pid = leaveSilent('silent')
    assert.equal(node.ok(['exec', 'other', 'echo', 'well']).text, 'well\n')
    assert.deepEqual([row('silent').state, row('silent').pid], ['running', pid])
    const said = node.zos(['exec', 'silent', 'true'])
    assert.notEqual(said.code, 0)
    assert.match(
      said.err,
      /^zos: Reach workload "silent": not taken up for \d+ s since .*: its QEMU does not answer; try/,
    )
    assert.match(row('silent').reason, /its QEMU does not answer/)
    signal(pid, 'SIGCONT')
  })

  await t.test('once it answers it is taken up, with nobody asking for it', async () => {
    await until('it is taken up', 60, () => row('silent').reason === '')
    assert.equal(node.ok(['exec', 'silent', 'echo', 'well']).text, 'well\n')
  })

  await t.test('one that stays silent can be killed, stopped and removed', async () => {
    const pids = ['silent', 'other', 'third'].map((name) => row(name).pid)
    for (const pid of pids) signal(pid, 'SIGSTOP')
    leaveSilent('other')
    node.ok(['kill', 'silent'])
    node.ok(['stop', '-t', '1', 'other'])
    node.ok(['rm', '-f', 'third'])
    assert.deepEqual(pids.map(gone), [true, true, true])
    assert.deepEqual([row('silent').exitCode, row('other').exitCode, row('third')], [137, 137, undefined])
    node.ok(['start', 'silent'])
    assert.equal(node.ok(['exec', 'silent', 'echo', 'well']).text, 'well\n')
  })

  await t.test('one that was frozen stays so, and goes on where it was', async () => {
    const count = ['sh', '-c', 'i=0; while sleep 0.2; do i=$((i+1)); echo $i; done']
    node.ok(['run', '-d', '--name', 'counter', 'box', ...count])
    await until('it counts', 60, () => node.ok(['logs', 'counter']).text.length > 4)
    node.ok(['pause', 'counter'])
    process.kill(status().pid, 'SIGKILL')
    const before = node.ok(['logs', 'counter']).text
    assert.equal(row('counter').state, 'paused')
    assert.match(node.zos(['exec', 'counter', 'true']).err, /it is paused: "zos unpause counter" first/)
    node.ok(['unpause', 'counter'])
    await until('it counts on', 60, () => node.ok(['logs', 'counter']).text.length > before.length + 4)
    const lines = node.ok(['logs', 'counter']).text.trim().split('\n')
    assert.deepEqual(
      lines,
      lines.map((_, n) => `${n + 1}`),
    )
    node.ok(['exec', 'counter', 'true'])
  })
})
