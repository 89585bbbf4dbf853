import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-rtt-loaded'
const claim = 'ping between two nodes while a stream saturates the link'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => compare({ name, claim, unit: 'ms', better: 'lower', must: 0.25 }, 'rttLoaded', 2),
} satisfies Benchmark
