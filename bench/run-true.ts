import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { busyboxTree, dockerArchive, startNode } from '../test/harness.ts'
import { must, podman } from './peer.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 20

const bench: Benchmark = {
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
    // templates and caches of both are warm before anything counts
    for (let i = 0; i < 3; i++) {
      node.ok(['run', '--rm', 'web', 'true'], { timeout: 300 })
      peer.run(['--rm', 'web', '/bin/true'])
    }
    const ours: number[] = []
    for (let i = 0; i < RUNS; i++) ours.push(node.ok(['run', '--rm', 'web', 'true']).ms)
    const theirs: number[] = []
    for (let i = 0; i < RUNS; i++) theirs.push(peer.run(['--rm', 'web', '/bin/true']))
    const [a, b] = [median(ours), median(theirs)]
    return {
      name: 'run-true',
      claim: bench.claim,
      ours: a,
      peer: b,
      peerName: 'podman with runc, --network=none',
      unit: 'ms',
      ratio: a / b,
      better: 'lower',
      must: 1.5,
      notes: { fastest: Math.round(Math.min(...ours)), slowest: Math.round(Math.max(...ours)) },
    }
  },
}
export default bench
