import { statSync } from 'node:fs'
import { join } from 'node:path'
import { startNode } from '../test/harness.ts'
import { lacksRfs, pack } from './rfs/peer.ts'
import { debianRoots } from './roots.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'rfs-manifest',
  claim: "bytes of a Debian root's manifest as stored, without what else is fetched on demand",
  lacks: lacksRfs,
  async run() {
    const { nginx } = await debianRoots(['nginx'])
    using node = startNode()
    const said = node.json<{ manifestBytes: number }>(['publish', '--json', `dir:${nginx}`, 'x'])
    const ours = said.manifestBytes / 1024
    const peer = statSync(pack(nginx!, join(node.work, 'rfs'), 'x').flist).size / 1024
    const row = { ours, peer, peerName: "rfs' flist", unit: 'KiB' }
    return { ...row, better: 'lower', must: 0.25, notes: {} }
  },
} satisfies Benchmark
