import assert from 'node:assert/strict'
import test from 'node:test'
import type { Message } from '../wire/control.ts'
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

test('neighbours are asked for what is ours, and asked no further, once an earlier life of ours is forgotten', () => {
  const asked: [at: number, generation: number][] = []
  let now = 0
  const send = (_link: number, message: Message) => {
    if (message.type === 'route-request' && message.prefix?.bytes === simSubnet(1))
      asked.push([now, message.generation])
  }
  const router = createRouter({ send, owns: () => true })
  router.addOrigin(simSubnet(1), simRouterId(1), 0)
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  for (; now <= 400_000; now += 1_000) {
    router.receive(1, { type: 'ihu', rxcost: 10, interval: 300 }, now)
    router.tick(now)
  }
  assert.deepEqual(asked, [
    [35_000, 15],
    [335_000, 15],
  ])
  // who is asked and has no other way says nothing to others
  const passed: Message[] = []
  const neighbour = createRouter({ send: (_link, message) => passed.push(message), owns: () => true })
  for (const link of [1, 2]) neighbour.linkUp(link, { base: 10, rtt: 0 }, 0)
  passed.length = 0
  neighbour.receive(1, { type: 'route-request', generation: 15, prefix: { bytes: simSubnet(1), length: 64 } }, 0)
  assert.deepEqual(passed, [])
})
