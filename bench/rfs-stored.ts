import { statSync } from 'node:fs'
import { join } from 'node:path'
import { startNode } from '../test/harness.ts'
import { lacksRfs, pack } from './rfs/peer.ts'
import { debianRoots } from './roots.ts'
import type { Benchmark } from './row.ts'
import { storedIn } from './stored-bytes.ts'

export default {
  name: 'rfs-stored',
  claim: 'bytes stored for three Debian roots, manifests and verity included, recompressed at rest',
  lacks: lacksRfs,
  async run() {
    const roots = await debianRoots(['nginx', 'redis', 'python'])
    using node = startNode()
    const flists: number[] = []
    for (const [name, dir] of Object.entries(roots)) {
      node.ok(['publish', `dir:${dir}`, name], { timeout: 600 })
      flists.push(statSync(pack(dir, join(node.work, 'rfs'), name).flist).size)
    }
    const published = storedIn(node.hub) / 1e6
    node.ok(['store', 'recompress'], { timeout: 3600 }) // what a node does by itself when it has nothing to do
    const [ours, peer] = [storedIn(node.hub) / 1e6, storedIn(join(node.work, 'rfs')) / 1e6]
    const row = { ours, peer, peerName: 'rfs', unit: 'MB' }
    const flistBytes = flists.reduce((sum, bytes) => sum + bytes, 0)
    return {
      ...row,
      better: 'lower',
      must: 0.75,
      notes: {
        'as published': `${published.toFixed(1)} MB, ${(published / peer).toFixed(3)}`,
        'of which flists of rfs, MB': (flistBytes / 1e6).toFixed(1),
      },
    }
  },
} satisfies Benchmark
