import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { published } from './publish.ts'
import { lacksRfs, pack } from './rfs/peer.ts'
import { contentBytes, debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7

export default {
  name: 'rfs-publish',
  claim: 'publishing a Debian root into an empty store',
  lacks: lacksRfs,
  async run() {
    const { nginx } = await debianRoots(['nginx'])
    const bytes = contentBytes(nginx!) / 1e6
    const work = mkdtempSync(join(tmpdir(), 'zos-rfs-'))
    const taken = { ours: [] as number[], rfs: [] as number[] }
    const rate = (act: () => void) => {
      const begun = performance.now()
      act()
      return (bytes / (performance.now() - begun)) * 1000
    }
    try {
      // one round that does not count: the folder is in the page cache for both
      for (let i = 0; i <= RUNS; i++) {
        const dir = join(work, String(i))
        mkdirSync(dir)
        taken.ours.push(rate(() => published(nginx!, dir)))
        taken.rfs.push(rate(() => pack(nginx!, dir, 'x')))
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
    const [ours, peer] = [median(taken.ours.slice(1)), median(taken.rfs.slice(1))]
    const row = { ours, peer, peerName: 'rfs', unit: 'MB/s' }
    return { ...row, better: 'higher', must: 3, notes: { 'MB of files': bytes.toFixed(0) } }
  },
} satisfies Benchmark
