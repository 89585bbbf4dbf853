// Whoever makes up subnets by the ten thousand takes the place of nobody else's.
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Message } from '../wire/control.ts'
import { createRouter, type Router } from './router.ts'
import { simRouterId, simSubnet, simulate } from './simulate.ts'

const TABLE = 16_384
const HALF_AN_HOUR = 30 * 60_000

const update = (node: number, metric = 0): Message => {
  const prefix = { bytes: simSubnet(node), length: 64 }
  return { type: 'update', interval: 30_000, seqno: 0, metric, prefix, routerId: simRouterId(node) }
}
const start = () => createRouter({ owns: () => true, send: () => {}, limits: { subnets: TABLE } })
const up = (router: Router, link: number, host: string, now = 0) => router.linkUp(link, { base: 10, rtt: 1, host }, now)
const leadsOver = (router: Router, node: number) => router.entries.get(simSubnet(node))?.selected?.link

/** Announces a whole table over LINK, all of it new: what the router has then. */
function flood(router: Router, link: number, from: number, now = 0): number {
  for (let n = 0; n < TABLE; n++) router.receive(link, update(from + n), now)
  return router.entries.size
}

test('a host that makes up a table of subnets leaves room for others, again and again', () => {
  const router = start()
  up(router, 1, 'hostile')
  up(router, 2, 'honest')
  router.receive(2, update(1), 0)
  const first = flood(router, 1, 1_000_000)
  assert.ok(first > TABLE / 2 && first < TABLE * 0.62, `${first} entries`)
  assert.equal(router.counters.tableFull, TABLE - first + 1)

  // what it brought stays remembered for a while, and is still its own when it comes back
  router.linkDown(1, 0)
  up(router, 3, 'hostile')
  assert.equal(flood(router, 3, 2_000_000), first)
  router.receive(3, update(1_000_000), 0)
  assert.equal(leadsOver(router, 1_000_000), 3, 'what is known may come from there again')

  assert.equal(leadsOver(router, 1), 2)
  for (let n = 2; n < 1_000; n++) router.receive(2, update(n), 0)
  for (let n = 1; n < 1_000; n++) assert.equal(leadsOver(router, n), 2, `subnet ${n}`)

  router.linkDown(3, 0)
  for (let now = 0; now <= HALF_AN_HOUR + 60_000; now += 60_000) router.tick(now)
  assert.equal(router.entries.size, 0)
  up(router, 4, 'hostile', HALF_AN_HOUR)
  const again = flood(router, 4, 3_000_000, HALF_AN_HOUR)
  // one of the first was another's
  assert.ok(again >= first - 1, `${again} entries, ${first} before`)
})

test('eight hosts that make up subnets one after another leave room for one that does not', () => {
  const router = start()
  for (let host = 1; host <= 8; host++) {
    up(router, host, `hostile ${host}`)
    flood(router, host, host * 1_000_000)
  }
  up(router, 100, 'honest')
  for (let n = 0; n < 30; n++) router.receive(100, update(n), 0)
  for (let n = 0; n < 30; n++) assert.equal(leadsOver(router, n), 100, `subnet ${n} of ${router.entries.size}`)
})

test('nor do hosts in league fill it: what one makes up and another asks for, by requests or frames, is limited as well', () => {
  const plenty = { subnets: TABLE, queries: 2 * TABLE, requestsPerSecond: 4 * TABLE, searchesPerSecond: 4 * TABLE }
  const router = createRouter({ owns: () => true, send: () => {}, limits: plenty })
  for (let pair = 1; pair <= 4; pair++) {
    const [asks, tells] = [2 * pair, 2 * pair + 1]
    up(router, asks, `asks ${pair}`)
    up(router, tells, `tells ${pair}`)
    for (let n = 0; n < TABLE; n++) {
      const node = pair * 1_000_000 + n
      const prefix = { bytes: simSubnet(node), length: 64 }
      if (pair % 2) router.receive(asks, { type: 'route-request', generation: 0, prefix }, 0)
      else router.want(prefix.bytes, 0, asks)
      router.receive(tells, update(node), 0)
    }
    router.tick(pair * 20_000)
  }
  up(router, 100, 'honest')
  router.want(simSubnet(1_000), 80_000)
  for (let n = 0; n < 30; n++) router.receive(100, update(n), 80_000)
  for (let n = 0; n < 30; n++) assert.equal(leadsOver(router, n), 100, `subnet ${n} of ${router.entries.size}`)
})

test('what a host asks for itself is no more wanted for that; what others ask for is', () => {
  const router = start()
  up(router, 1, 'hostile')
  up(router, 2, 'honest')
  const full = flood(router, 1, 1_000_000)
  const request = (link: number, node: number, now: number) =>
    router.receive(link, { type: 'route-request', generation: 0, prefix: { bytes: simSubnet(node), length: 64 } }, now)
  let now = 0
  for (let n = 0; n < 1_000; n++) {
    if (n % 100 === 0) {
      now += 1_000
      router.tick(now)
    }
    request(1, 2_000_000 + n, now)
    router.receive(1, update(2_000_000 + n), now)
  }
  assert.equal(router.queries.size, 1_000)
  assert.equal(router.entries.size, full)
  router.want(simSubnet(1), now)
  request(2, 2, now)
  for (const link of [1, 2]) request(link, 3, now)
  request(1, 4, now)
  router.want(simSubnet(4), now)
  request(1, 5, now)
  for (const node of [1, 2, 3, 4, 5]) router.receive(1, update(node), now)
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((node) => leadsOver(router, node)),
    [1, 1, 1, 1, undefined],
  )
})

test('behind a neighbour that passes on what somebody made up, what is looked for is found', () => {
  // 0 makes subnets up; 1 and 2 are between it and 3, and 4 comes later
  const net = simulate(5, { limits: { subnets: 400 } })
  const places = [
    [0, 1],
    [1, 2],
    [2, 3],
  ] as const
  for (const [a, b] of places) net.connect(a, b, 2)
  net.run(1_000)
  for (let n = 0; n < 1_000; n++) net.routers[0]!.addOrigin(simSubnet(1_000 + n), simRouterId(1_000 + n), net.now)
  net.run(1_000)
  assert.ok(net.routers[1]!.counters.tableFull > 0)
  net.connect(1, 4, 2)
  net.run(1_000)
  net.want(3, 4)
  net.run(1_000)
  assert.equal(net.path(3, 4), 3)
})
