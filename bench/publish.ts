import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../test/harness.ts'
import { must } from './peer.ts'
import { contentBytes, debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7

/** Publishes ROOT into a store of its own below DIR. */
export function published(root: string, dir: string): void {
  const env = { ...process.env, ZOS_HOME: join(dir, 'home'), ZOS_HUB: `dir:${join(dir, 'hub')}` }
  must(spawnSync(join(ROOT, 'zos'), ['publish', '--quiet', `dir:${root}`, 'x'], { env, maxBuffer: 1 << 26 }), 'zos')
}

export default {
  name: 'publish',
  claim: 'publishing a Debian root into an empty store',
  async run() {
    const { nginx } = await debianRoots(['nginx'])
    const bytes = contentBytes(nginx!) / 1e6
    const work = mkdtempSync(join(tmpdir(), 'zos-publish-'))
    const taken: Record<'zos' | 'restic' | 'casync', number[]> = { zos: [], restic: [], casync: [] }
    /** Runs a program and notes MB/s. What it left unwritten is written before the next one begins. */
    const time = (who: keyof typeof taken, act: () => void) => {
      const begun = performance.now()
      act()
      taken[who].push((bytes / (performance.now() - begun)) * 1000)
      must(spawnSync('sync', ['--file-system', work]), 'sync')
    }
    try {
      // one round that does not count: the folder is in the page cache for all of them. Nothing is deleted in
      // between: ext4 searches long for inodes where many were freed a moment ago
      for (let i = 0; i <= RUNS; i++) {
        const dir = join(work, String(i))
        mkdirSync(dir)
        time('zos', () => published(nginx!, dir))
        const env = { ...process.env, RESTIC_PASSWORD: 'x', RESTIC_CACHE_DIR: join(dir, 'cache') }
        const restic = (...args: string[]) =>
          void must(
            spawnSync('restic', ['-q', '-r', join(dir, 'restic'), ...args], { env, maxBuffer: 1 << 26 }),
            'restic',
          )
        restic('init')
        time('restic', () => restic('backup', nginx!))
        const made = [`--store=${dir}/casync`, `${dir}/x.caidx`, nginx!]
        time('casync', () => void must(spawnSync('casync', ['make', ...made], { maxBuffer: 1 << 26 }), 'casync'))
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
    const of = (who: keyof typeof taken) => median(taken[who].slice(1))
    const [ours, restic, casync] = [of('zos'), of('restic'), of('casync')]
    const peer = Math.max(restic, casync)
    return {
      ours,
      peer,
      peerName: restic > casync ? 'restic' : 'casync',
      unit: 'MB/s',
      better: 'higher',
      must: 1,
      notes: { restic: restic.toFixed(0), casync: casync.toFixed(0), 'MB of files': bytes.toFixed(0) },
    }
  },
} satisfies Benchmark
