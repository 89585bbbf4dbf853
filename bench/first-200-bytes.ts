import { compressedLayerBytes } from '../src/cli/demo/image.ts'
import { startOurs, withImage } from './lazy/line.ts'
import { type Benchmark, median } from './row.ts'

const RUNS = 7

export default {
  name: 'first-200-bytes',
  claim: "bytes over the wire until nginx's first page, chunk store empty",
  run: () =>
    withImage(async (node, image) => {
      const bytes: number[] = []
      for (let i = 0; i < RUNS; i++) bytes.push((await startOurs(node)).bytes)
      const [ours, peer] = [median(bytes) / 1e6, compressedLayerBytes(image) / 1e6]
      return {
        ours,
        peer,
        peerName: 'the compressed layers',
        unit: 'MB',
        better: 'lower',
        must: 0.25,
        notes: { 'most of all runs, MB': (Math.max(...bytes) / 1e6).toFixed(2) },
      }
    }),
} satisfies Benchmark
