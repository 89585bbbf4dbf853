import { against, idleRoundTrip } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-rtt'
const claim = 'ping between two nodes, idle'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => against({ name, claim, unit: 'ms', better: 'lower', must: 1.5 }, idleRoundTrip),
} satisfies Benchmark
