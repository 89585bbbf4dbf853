import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEPTH, publishInto, reads, STEP, serveOurs } from './nbd-random.ts'
import { must } from './peer.ts'
import { lacksRfs, mounted, type Packed, pack } from './rfs/peer.ts'
import { debianRoots } from './roots.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7
const COUNT = 5_000

/** What both have on the disk stays; what the kernel has of it in memory goes. */
function dropPageCache(): void {
  must(spawnSync('sync'), 'sync')
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}

/** IOPS of a storage process that has decoded nothing yet, and of the same one when it has. */
async function oursCold(dir: string, digest: string): Promise<{ first: number; warm: number }> {
  await using children = new AsyncDisposableStack()
  const { ours } = await serveOurs(children, dir, digest)
  const pass = () => {
    dropPageCache()
    return COUNT / reads(ours, COUNT, 4096, STEP).seconds
  }
  return { first: pass(), warm: pass() }
}

async function rfsCold(packed: Packed, dir: string): Promise<number> {
  await using mount = await mounted(packed, dir)
  dropPageCache()
  const env = { ...process.env, UV_THREADPOOL_SIZE: `${DEPTH}` }
  const args = [join(import.meta.dirname, 'rfs/scattered.ts'), mount.dir, `${COUNT}`]
  return COUNT / Number(must(spawnSync(process.execPath, args, { env }), 'scattered reads'))
}

export default {
  name: 'rfs-random',
  claim: `${COUNT} scattered 4 KiB reads of a Debian root, ${DEPTH} at a time, page cache cold, each one's own cache warm`,
  lacks: lacksRfs,
  async run() {
    const { nginx } = await debianRoots(['nginx'])
    const work = mkdtempSync(join(tmpdir(), 'zos-rfs-'))
    try {
      const digest = await publishInto(join(work, 'home'), nginx!)
      const packed = pack(nginx!, join(work, 'rfs'), 'x')
      {
        // its cache keeps each block it has read; for /dev/null tar reads none
        await using mount = await mounted(packed, work)
        must(spawnSync('tar', ['-cf', '/dev/zero', '-C', mount.dir, '.'], { maxBuffer: 1 << 26 }), 'tar')
      }
      const taken = { first: [] as number[], warm: [] as number[], rfs: [] as number[] }
      for (let i = 0; i < RUNS; i++) {
        const { first, warm } = await oursCold(join(work, 'home'), digest)
        taken.first.push(first)
        taken.warm.push(warm)
        taken.rfs.push(await rfsCold(packed, work))
      }
      const [first, ours, peer] = [median(taken.first), median(taken.warm), median(taken.rfs)]
      const row = { ours, peer, unit: 'IOPS' }
      const notes = {
        'own cache of ours, theirs': 'chunks decoded and verified, in memory; blocks decrypted, on the disk',
        'ours with nothing decoded yet': `${Math.round(first)} IOPS, ${(first / peer).toFixed(1)} of theirs`,
        'what reads ours': 'QEMU, the disk over NBD',
        'what reads theirs': 'files, through FUSE',
      }
      return { ...row, peerName: 'rfs', better: 'higher', must: 50, notes }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  },
} satisfies Benchmark
