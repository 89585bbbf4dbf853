import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-rtt-loaded',
  claim: 'ping between two nodes while a stream saturates the link',
  lacks: lacksRival,
  run: () => compare({ unit: 'ms', better: 'lower', must: 0.25 }, 'rttLoaded', 2),
} satisfies Benchmark
