import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-stream',
  claim: 'node to node, one TCP stream, our own defaults',
  lacks: lacksRival,
  run: () => compare({ unit: 'Mbit/s', better: 'higher', must: 1 }, 'stream', 2),
} satisfies Benchmark
