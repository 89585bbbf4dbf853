import { against, startInTurn } from './overlay/lab.ts'
import { createNet, type Kind } from './overlay/net.ts'
import { lacksRival } from './overlay/rival.ts'
import type { Benchmark } from './row.ts'

const LIMIT = 60_000
const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** Pings each 20 ms while the node on the path vanishes; seconds between the two answers furthest apart. */
async function longestSilence(kind: Kind): Promise<number> {
  const edges = [
    [0, 1],
    [0, 2],
    [3, 1],
    [3, 2],
  ] as const
  using net = createNet([kind, kind, kind, kind], edges)
  await startInTurn(net, [1, 2, 0, 3])
  const answers: number[] = []
  const pinger = net.spawn(0, ['ping', '-6', '-i', '0.02', net.addresses[3]!])
  pinger.stdout!.on('data', () => answers.push(performance.now()))
  try {
    await sleep(5_000)
    const before = [net.sentBytes(0, 1), net.sentBytes(0, 2)] as const
    await sleep(1_000)
    const onPath = net.sentBytes(0, 1) - before[0] > net.sentBytes(0, 2) - before[1] ? 1 : 2
    const died = performance.now()
    net.blackHole(onPath)
    // over when answers have come again for two seconds
    while (performance.now() - died < LIMIT) {
      await sleep(500)
      const fresh = answers.filter((at) => at > performance.now() - 2_000)
      if (performance.now() - died > 3_000 && fresh.length > 80) break
    }
    const around = answers.filter((at) => at > died - 1_000)
    return Math.max(...around.slice(1).map((at, i) => at - around[i]!)) / 1000
  } finally {
    pinger.kill('SIGKILL')
  }
}

export default {
  name: 'overlay-failover',
  claim: 'diamond, the node on the path loses power: longest silence, median',
  lacks: lacksRival,
  run: () => against({ unit: 's', better: 'lower', must: 0.1 }, longestSilence),
} satisfies Benchmark
