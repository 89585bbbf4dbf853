import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-relay'
const claim = 'three in a line, one TCP stream end to end'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => compare({ name, claim, unit: 'Mbit/s', better: 'higher', must: 0.7 }, 'stream', 3),
} satisfies Benchmark
