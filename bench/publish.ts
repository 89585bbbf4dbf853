import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startNode } from '../test/harness.ts'
import { must } from './peer.ts'
import { debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'
import { contentBytes } from './stored-bytes.ts'

const RUNS = 7

/** Seconds ACT takes. */
function seconds(act: () => void): number {
  const begun = performance.now()
  act()
  return (performance.now() - begun) / 1000
}

const bench: Benchmark = {
  name: 'publish',
  claim: 'publishing a Debian root into an empty store',
  async run() {
    const { nginx } = await debianRoots(['nginx'])
    const bytes = contentBytes(nginx!) / 1e6
    const [ours, restic, casync]: [number[], number[], number[]] = [[], [], []]
    const work = mkdtempSync(join(tmpdir(), 'zos-publish-'))
    try {
      // one round that does not count: the folder is in the page cache for all of them
      for (let i = 0; i <= RUNS; i++) {
        using node = startNode()
        ours.push(bytes / seconds(() => node.ok(['publish', `dir:${nginx}`, 'x'], { timeout: 600 })))
        const repo = join(work, `r${i}`)
        const env = { ...process.env, RESTIC_PASSWORD: 'x', RESTIC_CACHE_DIR: join(work, 'cache') }
        must(spawnSync('restic', ['-q', '-r', repo, 'init'], { env }), 'restic init')
        restic.push(
          bytes /
            seconds(() =>
              must(
                spawnSync('restic', ['-q', '-r', repo, 'backup', nginx!], { env, maxBuffer: 1 << 26 }),
                'restic backup',
              ),
            ),
        )
        const store = join(work, `c${i}`)
        mkdirSync(store)
        casync.push(
          bytes /
            seconds(() =>
              must(
                spawnSync('casync', ['make', `--store=${store}/store`, `${store}/x.caidx`, nginx!], {
                  maxBuffer: 1 << 26,
                }),
                'casync',
              ),
            ),
        )
        for (const d of [repo, store]) rmSync(d, { recursive: true, force: true })
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
    const [a, r, c] = [ours, restic, casync].map((list) => median(list.slice(1))) as [number, number, number]
    const peer = Math.max(r, c)
    return {
      name: 'publish',
      claim: bench.claim,
      ours: a,
      peer,
      peerName: r > c ? 'restic' : 'casync',
      unit: 'MB/s',
      ratio: a / peer,
      better: 'higher',
      must: 1,
      notes: { restic: r.toFixed(0), casync: c.toFixed(0), 'MB of files': bytes.toFixed(0) },
    }
  },
}
export default bench
