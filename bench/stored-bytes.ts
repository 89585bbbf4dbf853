import { spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { filesBelow, startNode } from '../test/harness.ts'
import { must } from './peer.ts'
import { contentBytes, debianRoots } from './roots.ts'
import type { Benchmark } from './row.ts'

export const storedIn = (dir: string): number => filesBelow(dir).reduce((n, f) => n + lstatSync(f).size, 0)

export default {
  name: 'stored-bytes',
  claim: 'bytes stored for four Debian roots, manifests and verity included, recompressed at rest',
  async run() {
    const roots = await debianRoots()
    using node = startNode()
    for (const [name, dir] of Object.entries(roots)) node.ok(['publish', `dir:${dir}`, name], { timeout: 600 })
    const published = storedIn(node.hub)
    node.ok(['store', 'recompress'], { timeout: 3600 })
    const ours = storedIn(node.hub)
    const repo = mkdtempSync(join(tmpdir(), 'zos-restic-'))
    try {
      const env = { ...process.env, RESTIC_PASSWORD: 'x', RESTIC_CACHE_DIR: join(repo, 'cache') }
      const restic = (args: string[]) =>
        must(spawnSync('restic', ['-q', '-r', join(repo, 'r'), ...args], { env, maxBuffer: 1 << 26 }), 'restic')
      restic(['init'])
      for (const dir of Object.values(roots)) restic(['backup', '--compression', 'auto', dir])
      const theirs = storedIn(join(repo, 'r'))
      return {
        ours: ours / 1e6,
        peer: theirs / 1e6,
        peerName: 'restic (auto)',
        unit: 'MB',
        better: 'lower',
        must: 1.05,
        notes: {
          'before idle recompression': `${(published / 1e6).toFixed(1)} MB, ${(published / theirs).toFixed(3)}`,
          'MB of file contents': Math.round(Object.values(roots).reduce((n, d) => n + contentBytes(d), 0) / 1e6),
        },
      }
    } finally {
      rmSync(repo, { recursive: true, force: true })
    }
  },
} satisfies Benchmark
