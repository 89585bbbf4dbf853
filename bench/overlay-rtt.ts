import { against, idleRoundTrip } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-rtt',
  claim: 'ping between two nodes, idle',
  lacks: lacksRival,
  run: () => against({ unit: 'ms', better: 'lower', must: 1.5 }, idleRoundTrip),
} satisfies Benchmark
