import { compare } from './overlay/lab.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const name = 'overlay-cpu'
const claim = 'CPU of both daemons per gigabyte carried'

export default {
  name,
  claim,
  lacks: lacksRival,
  run: () => compare({ name, claim, unit: 's/GB', better: 'lower', must: 1 }, 'cpu', 2),
} satisfies Benchmark
