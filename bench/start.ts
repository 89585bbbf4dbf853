import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { busyboxTree, type Node, ROOT, startNode } from '../test/harness.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7

/** Milliseconds from starting the command to the first byte the workload writes. */
async function firstByte(node: Node, env: NodeJS.ProcessEnv): Promise<number> {
  const begun = performance.now()
  const child = spawn(join(ROOT, 'zos'), ['run', '--rm', 'box', 'echo', 'x'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ZOS_HOME: node.home, ZOS_HUB: `dir:${node.hub}`, ...env },
  })
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  const took = performance.now() - begun
  await ended
  return took
}

async function measure(env: NodeJS.ProcessEnv): Promise<number> {
  using node = startNode()
  node.zos(['publish', `dir:${busyboxTree(join(node.work, 'tree'))}`, 'box'], { env, timeout: 300 })
  await firstByte(node, env)
  const times: number[] = []
  for (let i = 0; i < RUNS; i++) {
    // the pool is refilled between two runs: this row is about one start, run-true about many in a row
    await new Promise((r) => setTimeout(r, 1500))
    times.push(await firstByte(node, env))
  }
  return median(times)
}

export default {
  name: 'start',
  claim: 'command to the first byte the workload writes, all layers included',
  async run() {
    const ours = await measure({})
    const peer = await measure({ ZOS_TEMPLATES: 'off' })
    return {
      ours,
      peer,
      peerName: 'the same VM, cold-booted',
      unit: 'ms',
      better: 'lower',
      must: 1 / 8,
      notes: {},
    }
  },
} satisfies Benchmark
