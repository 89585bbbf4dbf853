import { join } from 'node:path'
import { openRegistry, startOurs, startPodman, withImage } from './lazy/line.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7

export default {
  name: 'first-200-time',
  claim: "command to nginx's first page, chunk store empty, template warm, over 30 ms and 100 Mbit/s",
  run: () =>
    withImage(async (node, image) => {
      await using registry = await openRegistry(image)
      const [ours, peer]: [number[], number[]] = [[], []]
      for (let i = 0; i < RUNS; i++) {
        ours.push((await startOurs(node)).ms)
        peer.push((await startPodman(registry.host, join(node.work, `podman-${i}`))).ms)
      }
      return {
        ours: median(ours),
        peer: median(peer),
        peerName: 'podman pull + run over the same line',
        unit: 'ms',
        better: 'lower',
        must: 0.4,
        notes: { 'fastest and slowest, ours': `${Math.min(...ours).toFixed(0)}, ${Math.max(...ours).toFixed(0)}` },
      }
    }),
} satisfies Benchmark
