import { compare, reads, withServers } from './nbd-random.ts'
import type { Benchmark } from './row.ts'

const MIB = 1 << 20
/** Times the whole disk is read per run. */
const ROUNDS = 5

export default {
  name: 'nbd-sequential',
  claim: '1 MiB reads through the disk of a Debian root, 16 at a time, warm',
  run: () =>
    withServers(async ({ ours, peer, bytes, cold }) => {
      const taken = compare(ours, peer, (server) => reads(server, (ROUNDS * bytes) / MIB, MIB, MIB))
      const [a, b] = [taken.ours, taken.peer].map((s) => (ROUNDS * bytes) / 1e6 / s) as [number, number]
      return {
        ours: a,
        peer: b,
        peerName: peer.name,
        unit: 'MB/s',
        better: 'higher' as const,
        must: 0.8,
        notes: {
          'MiB of disk': bytes / MIB,
          'MB/s, first time (chunk files in the page cache, each decoded and verified)': (
            bytes /
            1e6 /
            cold.seconds
          ).toFixed(0),
          'CPU seconds of the server, ours': taken.oursCpu.toFixed(2),
          'CPU seconds of the server, peer': taken.peerCpu.toFixed(2),
        },
      }
    }),
} satisfies Benchmark
