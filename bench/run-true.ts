import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { busyboxTree, dockerArchive, type Node, startNode } from '../test/harness.ts'
import { cpuSecondsOf, must, podman } from './peer.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 20
/** In turn, so that whatever else the machine does falls on both. */
const ROUNDS = 3

type Status = { pid: number; storage: { pid: number } }

/** CPU seconds of RUNS commands and of the node that serves them: both daemons, every QEMU they have buried. */
function oursCpu(node: Node): number {
  const { pid, storage } = node.json<Status>(['status', '--json'])
  const all = [pid, storage.pid, process.pid]
  const before = cpuSecondsOf(all)
  for (let i = 0; i < RUNS; i++) node.ok(['run', '--rm', 'web', 'true'])
  // the last machine is put away, and those that were claimed are made anew
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000)
  return cpuSecondsOf(all) - before
}

export default {
  name: 'run-true',
  claim: '`run --rm IMAGE true`, whole command, 20 back to back, pool refill included',
  async run() {
    using node = startNode()
    const tree = busyboxTree(join(node.work, 'tree'))
    node.ok(['publish', dockerArchive(join(node.work, 'a.tar'), tree), 'web'])
    const tar = join(node.work, 'root.tar')
    must(spawnSync('tar', ['-cf', tar, '-C', tree, '.']), 'tar')
    using peer = podman()
    peer.import(tar, 'web')
    const theirsArgs = ['--rm', 'web', '/bin/true']
    // templates and caches of both are warm before anything counts
    for (let i = 0; i < 5; i++) {
      node.ok(['run', '--rm', 'web', 'true'], { timeout: 300 })
      peer.run(theirsArgs)
    }
    const ours: number[] = []
    const theirs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < RUNS; i++) ours.push(node.ok(['run', '--rm', 'web', 'true']).ms)
      for (let i = 0; i < RUNS; i++) theirs.push(peer.run(theirsArgs))
    }
    const [a, b] = [median(ours), median(theirs)]
    const cpu = (seconds: number) => ((seconds * 1000) / RUNS).toFixed(0)
    return {
      ours: a,
      peer: b,
      peerName: 'podman with runc, --network=none',
      unit: 'ms',
      better: 'lower',
      must: 1.5,
      notes: {
        fastest: Math.round(Math.min(...ours)),
        slowest: Math.round(Math.max(...ours)),
        "peer's fastest": Math.round(Math.min(...theirs)),
        "peer's slowest": Math.round(Math.max(...theirs)),
        'CPU ms per run, ours': cpu(oursCpu(node)),
        'CPU ms per run, peer': cpu(peer.cpuSeconds(RUNS, theirsArgs)),
      },
    }
  },
} satisfies Benchmark
