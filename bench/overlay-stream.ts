import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-stream'
const claim = 'node to node, one TCP stream, our own defaults'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => compare({ name, claim, unit: 'Mbit/s', better: 'higher', must: 1 }, 'stream', 2),
} satisfies Benchmark
