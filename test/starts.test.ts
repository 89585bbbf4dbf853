import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomInt } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { classFor } from '#vm'
import { busyboxTree, processesWith, ROOT, startNode, until } from './harness.ts'

const nightly = process.env.ZOS_NIGHTLY === '1'
const ROUNDS = nightly ? 60 : 4
const CROWD = nightly ? 100 : 6

const node = startNode()
after(() => node[Symbol.dispose]())

type Row = { name: string; pid: number | null; state: string; exitCode: number | null; reason: string }
type Status = { pid: number; pool: number; storage: { pid: number } }
const rows = () => node.json<Row[]>(['ps', '-a', '--json'])
const status = () => node.json<Status>(['status', '--json'])
const runDir = `/run/zos-${createHash('sha256').update(node.home).digest('hex').slice(0, 12)}`

/** A command that runs beside us, and how it ended. */
function background(args: string[]): {
  child: ChildProcess
  ended: Promise<{ code: number | null; out: string; err: string }>
} {
  const env = { ...process.env, ZOS_HOME: node.home, ZOS_HUB: `dir:${node.hub}` }
  const child = spawn(join(ROOT, 'zos'), args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (d) => (out += d))
  child.stderr.on('data', (d) => (err += d))
  return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err }))) }
}

const machines = () => processesWith(`${runDir}/vm/`)

/** What a node holds that a workload could have left; the pool's share counted by its own word. */
function holdings() {
  const { pid, pool, storage } = status()
  const fds = (id: number) => readdirSync(`/proc/${id}/fd`).length
  const deleted = (id: number) =>
    readdirSync(`/proc/${id}/fd`).filter((fd) => {
      try {
        return readlinkSync(`/proc/${id}/fd/${fd}`).includes(' (deleted)')
      } catch {
        return false
      }
    }).length
  return {
    pool,
    machines: machines().length,
    vmFolders: readdirSync(join(runDir, 'vm')).length,
    exports: readdirSync(join(runDir, 'nbd')).length,
    uppers: readdirSync(join(node.home, 'pool')).length,
    workloads: readdirSync(join(node.home, 'workloads')).length,
    mounts: readFileSync('/proc/mounts', 'utf8').split(node.work).length - 1,
    daemonFds: fds(pid),
    storageFds: fds(storage.pid),
    deleted: deleted(pid) + deleted(storage.pid),
  }
}

/** The same, once nothing but the pool holds anything and that has stood still for a while. */
async function settled() {
  let since = Date.now()
  let seen = ''
  const quiet = until('the pool to be full and quiet', 120, () => {
    const now = holdings()
    const { pool, machines, uppers, exports } = now
    const facts = [pool, machines, uppers, exports].join()
    if (facts !== seen) since = Date.now()
    seen = facts
    return facts === [pool, pool, pool, pool].join() && Date.now() - since > 4000 ? now : undefined
  })
  return quiet.catch((cause) => assert.fail(`${cause}: pool, machines, writable layers, exports are ${seen}`))
}

test('a class without a template is booted and made then, and one line says so; above the largest it is refused', () => {
  node.ok(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { timeout: 300 })
  const { vcpus, memoryMiB } = classFor({ memory: 100 << 20 })
  const templates = join(node.home, 'templates')
  for (const lent of readdirSync(templates))
    if (lent.endsWith(`-${vcpus}x${memoryMiB}`)) unlinkSync(join(templates, lent))
  const first = node.zos(['run', '--rm', '--memory', '100m', 'box', 'true'], { timeout: 300 })
  assert.deepEqual([first.code, first.err.match(/template .*booting a guest once/g)?.length], [0, 1], first.err)
  assert.equal(node.zos(['run', '--rm', '--memory', '100m', 'box', 'true'], { timeout: 300 }).err, '')
  const large = node.zos(['run', '--rm', '--memory', '100000g', 'box', 'true'])
  assert.equal(large.code, 125)
  assert.match(large.err, /^zos: .*above the largest class, \d+ MiB.*\n$/)
  const many = node.zos(['run', '--rm', '--cpus', '4096', 'box', 'true'])
  assert.deepEqual([many.code, /more than the \d+ of this machine/.test(many.err)], [125, true], many.err)
})

test('--cpus holds: a busy loop gets no more than its share', () => {
  const loop =
    'timeout 4 sh -c "while :; do :; done"; cd /sys/fs/cgroup; cat cpu.stat cpu.max; cut -d" " -f1 /proc/uptime'
  const script = `cut -d" " -f1 /proc/uptime; ${loop}`
  const { text } = node.zos(['run', '--rm', '--cpus', '0.25', 'box', 'sh', '-c', script], { timeout: 120 })
  const lines = text.trim().split('\n')
  const used = Number(/usage_usec (\d+)/.exec(text)?.[1]) / 1e6
  const elapsed = Number(lines.at(-1)) - Number(lines[0])
  assert.ok(elapsed >= 3.9, text)
  assert.match(text, /^25000 100000$/m)
  assert.ok(Number(/nr_throttled (\d+)/.exec(text)?.[1]) > 0, text)
  // an emulated guest counts the time its host gave to others as its own: without a limit it comes to all there is
  assert.ok(used > 0 && used <= 0.7 * elapsed, `${used} s of CPU in ${elapsed} s`)
})

test('the daemon, the storage process or a machine killed at any moment of a start', {
  timeout: 1_800_000,
}, async () => {
  for (let i = 0; i < 2; i++) node.ok(['run', '--rm', 'box', 'true'], { timeout: 300 })
  for (let round = 0; round < ROUNDS; round++) {
    const victim = ['daemon', 'storage', 'machine'][round % 3]!
    const delay = randomInt(400)
    const { pid, storage } = status()
    const { ended } = background(['run', '--name', `r${round}`, 'box', 'sh', '-c', 'echo begun; sleep 0.2; echo over'])
    await new Promise((r) => setTimeout(r, delay))
    const all = machines()
    const killed = victim === 'daemon' ? pid : victim === 'storage' ? storage.pid : all[randomInt(all.length || 1)]
    if (killed !== undefined) process.kill(killed, 'SIGKILL')
    const { code, out, err } = await ended
    const what = `round ${round}: ${victim} after ${delay} ms: exit ${code}, "${out}", "${err}"`
    // whole, or a reason in one line; output is never made up
    assert.ok('begun\nover\n'.startsWith(out), what)
    if (code === 0) assert.equal(out, 'begun\nover\n', what)
    else if (out !== 'begun\nover\n') assert.match(err, /^zos: [^\n]+\n$|^$/, what)
    // none hangs between two states: what the daemon was starting has ended with a reason, or was never begun
    const row = await until(`r${round} to end`, 60, () => {
      const found = rows().find((w) => w.name === `r${round}`)
      return found?.state === 'running' || (found?.state === 'created' && victim !== 'daemon')
        ? undefined
        : (found ?? { reason: 'none', pid: null })
    })
    assert.equal(row.pid, null, what)
    assert.ok(row.reason, what)
    assert.equal(node.zos(['run', '--rm', 'box', 'echo', 'well'], { timeout: 120 }).text, 'well\n', what)
  }
  const names = rows().map((w) => w.name)
  if (names.length > 0) node.ok(['rm', '-f', ...names], { timeout: 120 })
})

test('many removed at once leave no process, socket, file, mount or descriptor', { timeout: 1_800_000 }, async () => {
  for (let i = 0; i < 2; i++) node.ok(['run', '--rm', 'box', 'true'], { timeout: 300 })
  const before = await settled()
  const names = Array.from({ length: CROWD }, (_, i) => `c${i}`)
  for (const name of names) node.ok(['run', '-d', '--name', name, 'box', 'sleep', '10000'], { timeout: 120 })
  assert.equal(rows().filter((w) => w.state === 'running').length, CROWD)
  node.ok(['rm', '-f', ...names], { timeout: 300 })
  assert.deepEqual(rows(), [])
  const left = await settled()
  // a connection or two of the command that asks may still be open, as before
  for (const key of ['daemonFds', 'storageFds'] as const)
    assert.ok(left[key] <= before[key] + 2, `${key}: ${before[key]} before, ${left[key]} after`)
  assert.deepEqual({ ...left, daemonFds: 0, storageFds: 0 }, { ...before, daemonFds: 0, storageFds: 0 })
})

test('policies outlive the daemon: what should always run starts again, what a person stopped does not', async () => {
  for (const [name, policy] of Object.entries({ a: 'always', b: 'unless-stopped', c: 'always', d: 'no' }))
    node.ok(['run', '-d', '--name', name, '--restart', policy, 'box', 'sleep', '1000'], { timeout: 120 })
  node.ok(['stop', '-t', '0', 'c'])
  node.ok(['down'], { timeout: 60 })
  assert.equal(existsSync(runDir), false)
  assert.deepEqual(processesWith(node.home), [])
  const state = (name: string) => rows().find((w) => w.name === name)!.state
  await until('a and b to run again', 60, () => state('a') === 'running' && state('b') === 'running')
  assert.deepEqual(['c', 'd'].map(state), ['exited', 'exited'])
})
