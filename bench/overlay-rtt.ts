import { compare } from './overlay/lab.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-rtt'
const claim = 'ping between two nodes, idle'

export default {
  name,
  claim,
  run: () => compare({ name, claim, unit: 'ms', better: 'lower', must: 1.5 }, 'rtt', 2),
} satisfies Benchmark
