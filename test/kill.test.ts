import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { busyboxTree, processesWith, sha256, startNode, until } from './harness.ts'

const node = startNode()
after(() => node[Symbol.dispose]())
const runDir = `/run/zos-${createHash('sha256').update(node.home).digest('hex').slice(0, 12)}`

type Row = { name: string; pid: number; state: string; exitCode: number | null; reason: string; restarts: number }
const row = (name: string) => node.json<Row[]>(['ps', '-a', '--json']).find((w) => w.name === name)!
type Status = { pid: number; storage: { pid: number }; workloads: Record<string, number> }
const status = () => node.json<Status>(['status', '--json'])

const nightly = process.env.ZOS_NIGHTLY === '1'
const BLOCK = randomBytes(4_000_000)
const BLOCKS = nightly ? 100 : 10
/** Bytes per second that have to come through by night, emulated too, while the daemon is killed every second. */
const LEAST = 10e6
/** So many kills in a row are looked at together: ten seconds. */
const ROW = 10

/** How many programs of the whole machine wanted a CPU, each time it was looked. */
function watchQueue(): { seen: () => { sum: number; looks: number } } & Disposable {
  let [sum, looks] = [0, 0]
  const timer = setInterval(() => {
    sum += Number(/^procs_running (\d+)/m.exec(readFileSync('/proc/stat', 'latin1'))![1])
    looks++
  }, 50)
  return { seen: () => ({ sum, looks }), [Symbol.dispose]: () => clearInterval(timer) }
}

type Kill = { at: number; bytes: number; sum: number; looks: number }

type Measured = { rate: number; least: number }

/**
 * Bytes per second over each row of kills, and what they must be at least: LEAST where the machine is ours (two programs per
 * core, ours included); of a smaller share the square, since both the guest and the daemon's next start have only that.
 */
function ratesOf(kills: readonly Kill[]): Measured[] {
  return kills.slice(ROW).map((b, n) => {
    const a = kills[n]!
    const share = Math.min(1, (2 * availableParallelism() * (b.looks - a.looks)) / (b.sum - a.sum))
    return { rate: ((b.bytes - a.bytes) / (b.at - a.at)) * 1000, least: LEAST * share ** 2 }
  })
}

test('logs at full speed, the daemon killed every second: no byte missing, none doubled, by night 10 MB/s at least', {
  timeout: 1_800_000,
}, async (t) => {
  const tree = busyboxTree(join(node.work, 'tree'), { block: BLOCK })
  node.ok(['publish', `dir:${tree}`, 'box'], { timeout: 300 })
  // a program that only copies: emulated, "seq" makes half a megabyte in a second of CPU, and would be what is measured
  const script = `i=0; while [ $i -lt ${BLOCKS} ]; do echo block $i; cat /block; i=$((i+1)); done`
  node.ok(['run', '-d', '--name', 'loud', 'box', 'sh', '-c', script], { timeout: 300 })
  const log = join(node.home, 'workloads', readdirSync(join(node.home, 'workloads'))[0]!, 'output.log')
  const ask = async (): Promise<Status> => JSON.parse((await node.zosLater(['status', '--json'])).text)
  using queue = watchQueue()
  const begun = performance.now()
  const kills: Kill[] = []
  // where a guest has a tenth of a core it would be killed for hours: the rest comes undisturbed
  for (let now = await ask(); kills.length < 5 || (kills.length < 150 && !now.workloads.exited); now = await ask()) {
    await new Promise((r) => setTimeout(r, 1000 - ((performance.now() - begun) % 1000)))
    // one that timed out must not kill the daemons of those behind it
    if (t.signal.aborted) return
    kills.push({ at: performance.now(), bytes: statSync(log).size, ...queue.seen() })
    process.kill(now.pid, 'SIGKILL')
  }
  await until('the end', 1200, () => row('loud').state === 'exited')
  assert.equal(row('loud').exitCode, 0)
  const expected = createHash('sha256')
  for (let n = 0; n < BLOCKS; n++) expected.update(`block ${n}\n`).update(BLOCK)
  const { out } = await node.zosLater(['logs', 'loud'], { timeout: 300 })
  assert.equal(sha256(out), expected.digest('hex'))
  // all of it within fewer kills is quick enough
  if (!nightly || kills.length <= ROW) return
  const { rate, least } = ratesOf(kills).reduce((best, one) =>
    one.rate / one.least > best.rate / best.least ? one : best,
  )
  const said = `${(rate / 1e6).toFixed(1)} MB/s in the best ten seconds, at least ${(least / 1e6).toFixed(1)} as busy as the machine was`
  t.diagnostic(said)
  assert.ok(rate >= least, said)
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
  // a machine that is just being made puts files there meanwhile
  rmSync(node.home, { recursive: true, maxRetries: 10 })
  await until('all of it to be gone', 60, () => left() === 0 && !existsSync(runDir))
})
