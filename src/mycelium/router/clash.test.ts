import assert from 'node:assert/strict'
import test from 'node:test'
import { createRouter } from './router.ts'
import { simRouterId, simSubnet } from './simulate.ts'

test('who announces what is ours under another router id is told of; what we said ourselves, and retractions, are not', () => {
  const heard: unknown[] = []
  const router = createRouter({ send: () => {}, owns: () => true, onClash: (...said) => heard.push(said) })
  router.addOrigin(simSubnet(1), simRouterId(1), 0)
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  const update = (routerId: string, metric: number) =>
    router.receive(
      1,
      { type: 'update', interval: 30_000, seqno: 0, metric, routerId, prefix: { bytes: simSubnet(1), length: 64 } },
      0,
    )
  update(simRouterId(1), 5)
  update(simRouterId(2), 0xffff)
  assert.deepEqual(heard, [])
  update(simRouterId(2), 5)
  assert.deepEqual(heard, [[simSubnet(1), 1]])
})
