import { idleRoundTrip, inTurn } from './overlay/lab.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-rtt'
const claim = 'ping between two nodes, idle'

export default {
  name,
  claim,
  run: () =>
    inTurn(
      { name, claim, unit: 'ms', better: 'lower', must: 1.5 },
      'public daemon',
      () => idleRoundTrip('ours'),
      () => idleRoundTrip('public'),
    ),
} satisfies Benchmark
