import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-compat',
  claim: 'one TCP stream between two of ours in the wire-compatible form, MTU 1400',
  lacks: lacksRival,
  run: () => compare({ unit: 'Mbit/s', better: 'higher', must: 0.4 }, 'stream', 2, 'compatible'),
} satisfies Benchmark
