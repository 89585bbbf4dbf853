import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { busyboxTree, startNode } from '../test/harness.ts'
import { cpuSecondsOf } from './peer.ts'
import type { Benchmark } from './row.ts'

const COUNT = 24
/** Fewer without templates: each costs a cold boot of seconds, and they do not share, so four tell as much as 24. */
const COLD = 4

const pss = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) / 1024

type Row_ = { pid: number; state: string }

const pause = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

/** Starts the image until it has a template of its own, which it gets from its second start on, while nobody waits. */
function awaitImageTemplate(node: ReturnType<typeof startNode>): void {
  const made = () => readdirSync(join(node.home, 'templates')).some((name) => /-[0-9a-f]{32}$/.test(name))
  for (let i = 0; i < 30; i++) {
    const said = node.zos(['run', '--rm', '--memory', '256m', 'box', 'true'], { timeout: 300 })
    if (said.code !== 0) throw new Error(said.err)
    if (made()) return
    pause(1000)
  }
  throw new Error('the image has no template after 30 starts')
}

function measure(count: number, env: NodeJS.ProcessEnv): { each: number; cpu: number } {
  using node = startNode()
  const tree = busyboxTree(join(node.work, 'tree'))
  node.zos(['publish', `dir:${tree}`, 'box'], { env, timeout: 300 })
  if (env.ZOS_TEMPLATES !== 'off') awaitImageTemplate(node)
  for (let i = 0; i < count; i++) {
    const said = node.zos(['run', '-d', '--memory', '256m', 'box', 'sleep', '10000'], { env, timeout: 300 })
    if (said.code !== 0) throw new Error(said.err)
  }
  const pids = (JSON.parse(node.zos(['ps', '--json'], { env }).text) as Row_[])
    .filter((w) => w.state === 'running')
    .map((w) => w.pid)
  if (pids.length !== count) throw new Error(`${pids.length} of ${count} run`)
  pause(5000)
  const before = cpuSecondsOf(pids)
  pause(10_000)
  const cpu = (cpuSecondsOf(pids) - before) / 10 / count
  return { each: pids.reduce((n, p) => n + pss(p), 0) / count, cpu: cpu * 100 }
}

export default {
  name: 'idle-memory',
  claim: `host memory (Pss) per idle 256 MiB workload, ${COUNT} of them`,
  async run() {
    const ours = measure(COUNT, {})
    const peer = measure(COLD, { ZOS_TEMPLATES: 'off' })
    return {
      ours: ours.each,
      peer: peer.each,
      peerName: 'the same, cold-booted',
      unit: 'MiB',
      better: 'lower',
      must: 0.25,
      notes: { 'idle CPU each, % of a core': ours.cpu.toFixed(2), 'cold-booted ones measured': COLD },
    }
  },
} satisfies Benchmark
