import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

export default {
  name: 'overlay-cpu',
  claim: 'CPU of both daemons per gigabyte carried',
  lacks: lacksRival,
  run: () => compare({ unit: 's/GB', better: 'lower', must: 1 }, 'cpu', 2),
} satisfies Benchmark
