import assert from 'node:assert/strict'
import { randomBytes, randomInt } from 'node:crypto'
import test from 'node:test'
import { FUZZ_RUNS } from '../fuzz.fixture.ts'
import type { Message } from '../wire/control.ts'
import { createRouter } from './router.ts'
import { simRouterId, simSubnet } from './simulate.ts'
import { MOST_SOURCES } from './table.ts'

test('whatever neighbours say: the router stays within its bounds, and what is ours stays ours', () => {
  const sent: Message[] = []
  const router = createRouter({
    owns: (id, subnet) => id.startsWith(subnet.slice(0, 4)),
    send: (_link, message) => sent.push(message),
    limits: { subnets: 100, queries: 50, requestsPerSecond: 20 },
  })
  router.addOrigin(simSubnet(1), simRouterId(1), 0)
  for (const link of [1, 2, 3]) router.linkUp(link, { base: 10, rtt: 1 }, 0)
  const subnets = [
    simSubnet(1),
    ...Array.from({ length: 300 }, (_, n) => `0${4 + (n % 4)}${randomBytes(7).toString('hex')}`),
  ]
  const prefix = () => {
    const length = [64, 64, 64, 0, 8, 128, 129][randomInt(7)]!
    const bytes = subnets[randomInt(subnets.length)]!
    return { bytes: length === 64 ? bytes : bytes.padEnd(32, '0').slice(0, Math.ceil(length / 8) * 2), length }
  }
  const routerId = () => `${subnets[randomInt(subnets.length)]!.padEnd(64, '0')}0000${randomBytes(6).toString('hex')}`
  const word = () => [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff, randomInt(0x10000)][randomInt(7)]!
  const made: (() => Message)[] = [
    () => ({ type: 'hello', unicast: randomInt(2) === 1, seqno: word(), interval: word() }),
    () => ({ type: 'ihu', rxcost: word(), interval: word() }),
    () => ({ type: 'update', interval: word(), seqno: word(), metric: word(), prefix: prefix(), routerId: routerId() }),
    () => ({ type: 'route-request', generation: randomInt(256), prefix: prefix() }),
    () => ({ type: 'route-request', generation: randomInt(256) }),
    () => ({ type: 'seqno-request', seqno: word(), hops: randomInt(256), routerId: routerId(), prefix: prefix() }),
  ]
  let now = 0
  for (let n = 0; n < FUZZ_RUNS; n++) {
    sent.length = 0
    router.receive(1 + randomInt(4), made[randomInt(made.length)]!(), now)
    // one is answered by the whole table at most, to one neighbour or told to all
    assert.ok(sent.length <= 3 * (100 + 2), `${sent.length} messages for one`)
    if (n % 20 === 0) {
      now += randomInt(400)
      router.tick(now)
    }
    assert.ok(router.entries.size <= 100 && router.queries.size <= 50)
    // and one that waits with each neighbour to be used
    assert.ok([...router.entries.values()].every(({ sources }) => sources.size <= MOST_SOURCES + 3))
    assert.equal(router.entries.get(simSubnet(1)), undefined, 'a way to ourselves')
  }
  assert.ok(router.isOwn(simSubnet(1)))
})

test('one subnet in the name of ever more router ids takes no more room, and who started so often is reached again', () => {
  const router = createRouter({ owns: () => true, send: () => {} })
  for (const link of [1, 2]) router.linkUp(link, { base: 10, rtt: 1 }, 0)
  const subnet = simSubnet(5)
  const started = (n: number): string => simRouterId(5).slice(0, 64) + n.toString(16).padStart(16, '0')
  const update = (n: number, metric: number): Message => {
    const prefix = { bytes: subnet, length: 64 }
    return { type: 'update', interval: 30_000, seqno: 0, metric, prefix, routerId: started(n) }
  }
  for (let n = 0; n < 1_000; n++) router.receive(1, update(n, n % 2 ? 0 : 60), n)
  const entry = router.entries.get(subnet)!
  assert.equal(entry.sources.size, MOST_SOURCES)
  assert.equal(router.counters.tableFull, 1_000 - MOST_SOURCES)
  assert.equal(entry.selected?.routerId, started(MOST_SOURCES - 1))
  router.receive(1, update(5_000, 0), 182_000)
  assert.equal(entry.selected?.routerId, started(5_000))
})

test('a seqno that somebody made up for another node is caught up with: it is reached again once who did that is gone', () => {
  const [OWNER, HOSTILE, RELAY, FAR] = [1, 2, 3, 4]
  for (const madeUp of [2, 0x3fff, 0x7ffe, 0x7fff]) {
    let now = 0
    const queue: (() => void)[] = []
    const owner = createRouter({
      owns: () => true,
      send: (_link, message) => queue.push(() => relay.receive(OWNER, message, now)),
    })
    const relay = createRouter({
      owns: () => true,
      send(link, message) {
        if (link === OWNER) queue.push(() => owner.receive(RELAY, message, now))
        if (link === FAR) queue.push(() => far.receive(RELAY, message, now))
      },
    })
    const far = createRouter({
      owns: () => true,
      send: (_link, message) => queue.push(() => relay.receive(FAR, message, now)),
    })
    const reached = () =>
      relay.entries.get(simSubnet(1))?.selected?.link === OWNER &&
      far.entries.get(simSubnet(1))?.selected?.link === RELAY
    const pass = (ms: number, isDone = () => false) => {
      for (const end = now + ms; now < end && !isDone(); now += 100) {
        for (const router of [owner, relay, far]) router.tick(now)
        while (queue.length > 0) queue.shift()!()
      }
    }
    owner.addOrigin(simSubnet(1), simRouterId(1), 0)
    owner.linkUp(RELAY, { base: 10, rtt: 1 }, 0)
    for (const link of [OWNER, HOSTILE, FAR]) relay.linkUp(link, { base: link === HOSTILE ? 1 : 30, rtt: 1 }, 0)
    far.linkUp(RELAY, { base: 10, rtt: 1 }, 0)
    pass(1_000)
    assert.ok(reached())
    const prefix = { bytes: simSubnet(1), length: 64 }
    const routerId = simRouterId(1)
    relay.receive(HOSTILE, { type: 'update', interval: 30_000, seqno: madeUp, metric: 0, prefix, routerId }, now)
    pass(300)
    assert.equal(relay.entries.get(simSubnet(1))!.selected!.link, HOSTILE)
    relay.linkDown(HOSTILE, now)
    pass(20_000, reached)
    assert.ok(reached(), `after seqno ${madeUp}`)
  }
})
