import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-compat'
const claim = 'one TCP stream between two of ours in the wire-compatible form, MTU 1400'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => compare({ name, claim, unit: 'Mbit/s', better: 'higher', must: 0.4 }, 'stream', 2, 'compatible'),
} satisfies Benchmark
