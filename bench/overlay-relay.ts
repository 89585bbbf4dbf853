import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-relay',
  claim: 'three in a line, one TCP stream end to end',
  lacks: lacksRival,
  run: () => compare({ unit: 'Mbit/s', better: 'higher', must: 0.7 }, 'stream', 3),
} satisfies Benchmark
