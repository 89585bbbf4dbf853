import assert from 'node:assert/strict'
import test from 'node:test'
import type { Message } from '../wire/control.ts'
import { isNewer } from './numbers.ts'
import { createRouter } from './router.ts'
import { simRouterId, simSubnet, simulate } from './simulate.ts'

test('a cut network retracts what is gone and finds it again when it heals', () => {
  const sim = simulate(8)
  const links = Array.from({ length: 7 }, (_, i) => sim.connect(i, i + 1, 5))
  sim.run(3_000)
  assert.equal(sim.path(0, 7), 7)
  sim.down(links[3]!)
  sim.run(1_000)
  for (let a = 0; a < 4; a++) assert.equal(sim.path(a, 7), undefined)
  sim.up(links[3]!)
  sim.want(0, 7)
  sim.run(3_000)
  assert.equal(sim.path(0, 7), 7)
})

test('a link that says nothing any more is left within 3 s and taken again when it speaks', () => {
  const sim = simulate(4)
  sim.connect(0, 1, 1)
  const fast = sim.connect(1, 3, 1)
  sim.connect(0, 2, 30)
  sim.connect(2, 3, 30)
  sim.run(3_000)
  const viaFast = sim.routers[0]!.entries.get(simSubnet(3))!.selected!.link
  sim.down(fast, true)
  sim.run(3_200)
  assert.equal(sim.path(0, 3), 2)
  assert.notEqual(sim.routers[0]!.entries.get(simSubnet(3))!.selected!.link, viaFast)
})

test('a link that packets take is left within a second, and taken again when it speaks', () => {
  const sim = simulate(4)
  const fast = sim.connect(0, 1, 1)
  sim.connect(1, 3, 1)
  sim.connect(0, 2, 30)
  sim.connect(2, 3, 30)
  sim.run(3_000)
  const via = () => sim.routers[0]!.use(simSubnet(3), sim.now)!.link
  const before = via()
  sim.run(1_500)
  const died = sim.now
  sim.down(fast, true)
  while (via() === before && sim.now - died < 5_000) sim.run(10)
  assert.ok(sim.now - died < 1_000, `${sim.now - died} ms`)
  assert.equal(sim.path(0, 3), 2)
  sim.run(20_000)
  sim.up(fast)
  sim.run(2_000)
  assert.equal(sim.path(0, 3), 2)
})

test('a link is watched closely for packets, not for what a node says itself, and no oftener than it must', () => {
  const { sent, router, update } = lone()
  const subnet = `04${'1'.repeat(14)}`
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  router.receive(1, update(subnet, 1), 0)
  const busy = (find: (subnet: string, now: number) => unknown, from: number) => {
    sent.length = 0
    let turns = 0
    const end = from + 20_000
    for (let now = from, due = 0, word = from; now < end; now = Math.min(due, word)) {
      if (now >= word) {
        assert.ok(find(subnet, now))
        word = now + 250
      }
      const hellos = sent.length
      due = router.tick(now)
      turns++
      // a neighbour that answers at once
      if (sent.length > hellos) router.receive(1, { type: 'ihu', rxcost: 10, interval: 300 }, now)
    }
    return { hellos: sent.filter(([, message]) => message.type === 'hello').length, turns }
  }
  const own = busy(router.lookup, 1_000)
  assert.ok(own.hellos <= 21, `${own.hellos} Hellos`)
  const packets = busy(router.use, 41_000)
  assert.ok(packets.hellos > 55 && packets.hellos < 80, `${packets.hellos} Hellos`)
  // 80 words, 67 Hellos and 20 seconds: no look in between
  assert.ok(packets.turns < 190, `${packets.turns} turns`)
})

test('starvation: when only unfeasible ways are left the owner raises its seqno', () => {
  // RFC 8966 §3.5.1: S–A cheap, S–B dear, A–B: B advertised 11+10 by A, then A loses S: A must not use B's stale way
  const sim = simulate(3)
  const direct = sim.connect(0, 1, 1)
  sim.connect(0, 2, 200)
  sim.connect(1, 2, 1)
  sim.run(5_000)
  assert.equal(sim.path(1, 0), 1)
  sim.down(direct)
  sim.run(10_000)
  assert.equal(sim.path(1, 0), 2)
  const { selected } = sim.routers[1]!.entries.get(simSubnet(0))!
  assert.ok(isNewer(selected!.seqno, 0), 'reached only after a fresher seqno')
})

function lone() {
  const sent: [number, Message][] = []
  const lost: string[] = []
  const router = createRouter({
    owns: (id, subnet) => id.startsWith(subnet),
    send: (link, message) => sent.push([link, message]),
    onUnreachable: (subnet) => lost.push(subnet),
    limits: { subnets: 3, queries: 2, requestsPerSecond: 5 },
  })
  const update = (subnet: string, metric: number, seqno = 0, owner = subnet): Message => ({
    type: 'update',
    interval: 30000,
    seqno,
    metric,
    prefix: { bytes: subnet, length: 64 },
    routerId: owner.padEnd(80, '0'),
  })
  return { sent, lost, router, update }
}

test('updates for ranges outside the overlay, own subnets or by others than the owner are not taken', () => {
  const { router, update } = lone()
  router.addOrigin(simSubnet(1), simRouterId(1), 0)
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  for (const bad of [
    update(simSubnet(1), 0),
    update('2001'.padEnd(16, '0'), 0),
    update(simSubnet(2), 0, 0, simSubnet(3)),
  ])
    router.receive(1, bad, 0)
  router.receive(
    1,
    { ...(update(simSubnet(2), 0) as Extract<Message, { type: 'update' }>), prefix: { bytes: '05', length: 8 } },
    0,
  )
  assert.equal(router.entries.size, 0)
  assert.equal(router.counters.filtered, 4)
})

test('tables and queries are bounded, floods of requests are not multiplied', () => {
  const { router, update, sent } = lone()
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  router.linkUp(2, { base: 10, rtt: 0 }, 0)
  for (let i = 0; i < 10; i++) router.receive(i < 5 ? 1 : 2, update(simSubnet(i), 5), 0)
  assert.equal(router.entries.size, 3)
  assert.equal(router.counters.tableFull, 7)
  sent.length = 0
  for (let i = 20; i < 60; i++)
    router.receive(1, { type: 'route-request', generation: 0, prefix: { bytes: simSubnet(i), length: 64 } }, 0)
  assert.equal(sent.length, 2)
  assert.equal(router.queries.size, 2)
  assert.equal(router.want(simSubnet(99), 0), false)
})

test('a request nobody answers ends, repeated each second until then', () => {
  const { router, lost, sent } = lone()
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  router.tick(0)
  sent.length = 0
  router.want(simSubnet(5), 0)
  for (let now = 0; now <= 6_000; now += 100) router.tick(now)
  assert.deepEqual(lost, [simSubnet(5)])
  assert.equal(sent.filter(([, m]) => m.type === 'route-request' && m.prefix).length, 5)
})

test('a seqno exactly half the circle away is neither older nor newer', () => {
  assert.ok(isNewer(1, 0) && isNewer(0, 65535) && !isNewer(0, 1) && !isNewer(5, 5))
  assert.ok(!isNewer(32768, 0) && !isNewer(0, 32768))
})

test('a retracted subnet is gone everywhere at once, and can come back', () => {
  const net = simulate(3)
  net.connect(0, 1, 5)
  net.connect(1, 2, 5)
  net.run(3_000)
  net.want(0, 2)
  net.run(100)
  assert.equal(net.path(0, 2), 2)
  net.routers[2]!.removeOrigin(simSubnet(2))
  net.run(100)
  assert.equal(net.path(0, 2), undefined)
  net.routers[2]!.addOrigin(simSubnet(2), simRouterId(2, 1), net.now)
  net.run(100)
  net.want(0, 2)
  net.run(100)
  assert.equal(net.path(0, 2), 2)
})

test('a neighbour that was away is soon as near as before; one that is slow is known to be', () => {
  const { router } = lone()
  router.linkUp(1, { base: 10, rtt: 1 }, 0)
  let now = 0
  /** Says a Hello, which is answered after so long. */
  const answered = (after: number) => {
    router.tick(now + 1_000)
    now += 1_000 + after
    router.receive(1, { type: 'ihu', rxcost: 10, interval: 300 }, now)
  }
  const rtt = () => router.links.get(1)!.rtt
  answered(60_000)
  assert.ok(rtt() < 200, `${rtt()}`)
  for (let i = 0; i < 30; i++) answered(1)
  assert.ok(rtt() < 20, `${rtt()}`)
  for (let i = 0; i < 40; i++) answered(3_000)
  assert.ok(rtt() > 2_500, `${rtt()}`)
})

test('a neighbour that announces nothing of itself is asked for all it reaches, once; one that does is not', () => {
  const { sent, router, update } = lone()
  router.linkUp(1, { base: 10, rtt: 1 }, 0)
  router.linkUp(2, { base: 10, rtt: 1 }, 0)
  router.receive(2, update(`04${'1'.repeat(14)}`, 1), 100)
  for (let now = 200; now < 5_000; now += 200) router.tick(now)
  const asked = sent.filter(([, message]) => message.type === 'route-request')
  assert.deepEqual(asked, [[1, { type: 'route-request', generation: 0 }]])
})
