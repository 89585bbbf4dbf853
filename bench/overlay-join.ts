import { against } from './overlay/lab.ts'
import { createNet, type Kind } from './overlay/net.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

/** Seconds from the start of the first daemon to the first answer; the ends dial, so a dial may come too early. */
async function firstAnswer(kind: Kind): Promise<number> {
  const edges = [
    [0, 1],
    [2, 1],
  ] as const
  using net = createNet([kind, kind, kind], edges)
  const pinger = net.spawn(0, [
    'sh',
    '-c',
    `until ping -6 -c 1 -W 1 -i 0.01 ${net.addresses[2]} >/dev/null 2>&1; do sleep 0.01; done`,
  ])
  const begun = performance.now()
  for (const i of [0, 1, 2]) net.start(i)
  const limit = setTimeout(() => pinger.kill('SIGKILL'), 60_000)
  await new Promise((done) => pinger.once('close', done))
  clearTimeout(limit)
  return (performance.now() - begun) / 1000
}

export default {
  name: 'overlay-join',
  claim: 'three in a line started at once: until the first answer end to end, worst of 10',
  lacks: lacksRival,
  run: () =>
    against({ unit: 's', better: 'lower', must: 0.2 }, firstAnswer, {
      rounds: 10,
      take: (values) => Math.max(...values),
    }),
} satisfies Benchmark
