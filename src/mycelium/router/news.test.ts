// What one neighbour makes of routes does not fill the connections to the others.
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Message } from '../wire/control.ts'
import { INFINITE } from './numbers.ts'
import { createRouter } from './router.ts'
import { simRouterId, simSubnet } from './simulate.ts'

const PER_SECOND = 100
const MANY = 1_000
const [RESTLESS, NEIGHBOUR, SLOW] = [1, 2, 3]
type Update = Extract<Message, { type: 'update' }>

function start() {
  const said = new Map<number, Message[]>()
  const full = new Set<number>()
  const router = createRouter({
    owns: () => true,
    send: (link, message) => said.get(link)!.push(message),
    hasRoom: (link) => !full.has(link),
    limits: { updatesPerSecond: PER_SECOND, requestsPerSecond: 10 },
  })
  for (const link of [RESTLESS, NEIGHBOUR, SLOW]) {
    said.set(link, [])
    router.linkUp(link, { base: 10, rtt: 1 }, 0)
  }
  const of =
    <T extends Message['type']>(type: T) =>
    (link: number) =>
      said.get(link)!.filter((message): message is Extract<Message, { type: T }> => message.type === type)
  const hear = (link: number, node: number, metric: number, seqno = 0) => {
    const prefix = { bytes: simSubnet(node), length: 64 }
    router.receive(link, { type: 'update', interval: 30_000, seqno, metric, prefix, routerId: simRouterId(node) }, 0)
  }
  /** The seconds from FROM on until all is told; all neighbours answer meanwhile. EACH is called after each. */
  function pass(from: number, each = () => {}): void {
    for (let second = from; router.isBehind || second === from; second++) {
      for (const link of router.links.keys())
        router.receive(link, { type: 'ihu', rxcost: 10, interval: 300 }, second * 1_000)
      router.tick(second * 1_000)
      each()
    }
  }
  return { router, full, updates: of('update'), requests: of('seqno-request'), hear, pass }
}

/** By subnet, what was said of it last. */
const last = (updates: Update[]) => new Map(updates.map(({ prefix, metric }) => [prefix.bytes, metric]))

test('a neighbour is told of so many changes in a second and of all in the end, by their last state', () => {
  const { router, updates, hear, pass } = start()
  for (let node = 0; node < MANY; node++) hear(RESTLESS, node, 0)
  assert.equal(updates(NEIGHBOUR).length, PER_SECOND)
  router.linkDown(RESTLESS, 0)
  assert.equal(updates(NEIGHBOUR).length, PER_SECOND)
  let seconds = 1
  pass(1, () => assert.ok(updates(NEIGHBOUR).length <= ++seconds * PER_SECOND))
  // who heard of it hears that it is gone; of the others there is nothing left to say but that
  const told = last(updates(NEIGHBOUR))
  assert.equal(told.size, MANY)
  assert.ok([...told.values()].every((metric) => metric === INFINITE))
  assert.equal(updates(NEIGHBOUR).length, MANY + PER_SECOND)
})

test('while a neighbour has no room, what comes and goes waits as one change, and others hear of it', () => {
  const { router, full, updates, hear } = start()
  full.add(SLOW)
  for (let n = 0; n < 10 * MANY; n++) hear(RESTLESS, 1, n % 2 ? INFINITE : 0, n)
  hear(RESTLESS, 2, 0)
  assert.equal(updates(NEIGHBOUR).length, PER_SECOND)
  assert.equal(updates(SLOW).length, 0)
  full.clear()
  assert.equal(router.tellNews(0), true)
  assert.deepEqual(
    [...last(updates(SLOW))],
    [
      [simSubnet(1), INFINITE],
      [simSubnet(2), 11],
    ],
  )
  assert.equal(updates(SLOW).length, 2)
  router.tick(1_000)
  assert.equal(router.isBehind, false)
  assert.deepEqual(
    [...last(updates(NEIGHBOUR))],
    [
      [simSubnet(1), INFINITE],
      [simSubnet(2), 11],
    ],
  )
})

test('who asks for the whole table gets it as fast as it may be told, and each part once', () => {
  const { router, updates, hear, pass } = start()
  for (let node = 0; node < MANY; node++) hear(RESTLESS, node, 0)
  pass(1)
  const before = updates(NEIGHBOUR).length
  for (let i = 0; i < 3; i++) router.receive(NEIGHBOUR, { type: 'route-request', generation: 0 }, 30_000)
  // what is left of this second
  let seconds = 1
  pass(31, () => assert.ok(updates(NEIGHBOUR).length - before <= ++seconds * PER_SECOND))
  assert.equal(updates(NEIGHBOUR).length - before, MANY)
})

test('no neighbour is asked for more seqnos in a second than it answers', () => {
  const { router, requests, hear, pass } = start()
  for (let node = 0; node < MANY; node++) hear(RESTLESS, node, 0)
  pass(1)
  // dearer than what it was told itself: not feasible
  for (let node = 0; node < MANY; node++) hear(NEIGHBOUR, node, 500)
  router.linkDown(RESTLESS, 30_000)
  assert.equal(requests(NEIGHBOUR).length, 10)
  router.receive(NEIGHBOUR, { type: 'ihu', rxcost: 10, interval: 300 }, 31_000)
  router.tick(31_000)
  assert.equal(requests(NEIGHBOUR).length, 20)
})
