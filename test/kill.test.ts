import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, processesWith, startNode, until } from './harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())
const runDir = `/run/zos-${createHash('sha256').update(node.home).digest('hex').slice(0, 12)}`

type Row = { name: string; pid: number; state: string; exitCode: number | null; reason: string; restarts: number }
const row = (name: string) => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === name)!
type Status = { pid: number; storage: { pid: number } }
const status = () => node.json<Status>(['status', '--json'])

/** What `seq 1 COUNT` writes. */
function* numbers(count: number): Generator<string> {
  for (let n = 1; n <= count; n += 10_000)
    yield Array.from({ length: Math.min(10_000, count - n + 1) }, (_, i) => `${n + i}\n`).join('')
}

test('logs at full speed, the daemon killed every second: no byte missing, none doubled', {
  timeout: 1_800_000,
}, async (t) => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { timeout: 300 })
  // by night 170 MB, for which a guest needs some 20 s: more than 5 MB/s, emulated
  const lines = process.env.ZOS_NIGHTLY === '1' ? 20_000_000 : 400_000
  node.ok(['run', '-d', '--name', 'loud', 'box', 'seq', '1', String(lines)], { timeout: 300 })
  // where a guest has a tenth of a core it would be killed for hours: the rest comes undisturbed
  for (let kills = 0; kills < 5 || (kills < 150 && row('loud').state === 'running'); kills++) {
    await new Promise((r) => setTimeout(r, kills < 5 ? 700 : 1000))
    // one that timed out must not kill the daemons of those behind it
    if (t.signal.aborted) return
    process.kill(status().pid, 'SIGKILL')
  }
  await until('the end', 1200, () => row('loud').state === 'exited')
  assert.equal(row('loud').exitCode, 0)
  const expected = createHash('sha256')
  for (const text of numbers(lines)) expected.update(text)
  assert.equal(
    createHash('sha256')
      .update(node.ok(['logs', 'loud'], { timeout: 300 }).out)
      .digest('hex'),
    expected.digest('hex'),
  )
})

test('the storage process killed: reads wait, nothing fails', async () => {
  node.ok(['run', '-d', '--name', 'reader', 'box', 'sleep', '1000'])
  process.kill(status().storage.pid, 'SIGKILL')
  const said = node.zos(
    ['exec', 'reader', 'sh', '-c', 'for i in 1 2 3; do cat /bin/busybox; done | md5sum; dmesg | grep -c "I/O error"'],
    { timeout: 60 },
  )
  assert.match(said.text, /^[0-9a-f]{32} {2}-\n0\n/)
  await until('it is back', 20, () => status().storage.pid > 1)
})

test('restart policies: a failing program runs again as often as asked, a killed machine too', async () => {
  node.ok(['run', '-d', '--name', 'failing', '--restart', 'on-failure:2', 'box', 'sh', '-c', 'echo run; exit 9'])
  await until('three runs', 60, () => node.ok(['logs', 'failing']).text === 'run\nrun\nrun\n')
  const failing = await until('its end', 30, () => (row('failing').state === 'exited' ? row('failing') : undefined))
  assert.deepEqual([failing.exitCode, failing.restarts], [9, 2])
  node.ok(['run', '-d', '--name', 'always', '--restart', 'always', 'box', 'sleep', '1000'])
  const before = row('always').pid
  process.kill(before, 'SIGKILL')
  await until('another machine', 60, () => row('always').state === 'running' && row('always').pid !== before)
})

test('all removed at once: no process, socket or file stays', async () => {
  node.ok(['rm', '-f', ...node.json<Row[]>(['ps', '-a', '--json']).map((w) => w.name)])
  assert.deepEqual(node.json(['ps', '-a', '--json']), [])
  node.ok(['down'])
  assert.deepEqual(processesWith(node.home), [])
  assert.deepEqual(readdirSync(join(node.home, 'workloads')), [])
  assert.equal(existsSync(runDir), false)
})

test('a home that is deleted takes its daemon, its storage plane and its machines with it', async () => {
  node.ok(['run', '-d', 'box', 'sleep', '1000'], { timeout: 300 })
  const { pid } = status()
  const left = () =>
    [...processesWith(node.home), ...processesWith(runDir)].length + (existsSync(`/proc/${pid}`) ? 1 : 0)
  assert.ok(left() >= 3)
  rmSync(node.home, { recursive: true })
  await until('all of it to be gone', 60, () => left() === 0 && !existsSync(runDir))
})
