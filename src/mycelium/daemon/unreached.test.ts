import assert from 'node:assert/strict'
import test from 'node:test'
import { createRouter } from '../router/router.ts'
import { simRouterId } from '../router/simulate.ts'
import { unreachedStatuses } from './route-status.ts'
import { createTelling } from './telling.ts'
import { createClash, createUnreached } from './unreached.ts'

const subnet = (n: number) => `04${n.toString(16).padStart(14, '0')}`

test('destinations are remembered by their last error, in bounds; senders’ own faults are not theirs', () => {
  let now = 0
  const lines: string[] = []
  const telling = createTelling(
    (line) => lines.push(line),
    () => now,
  )
  const { last, here } = createUnreached(() => now++, telling)
  for (let n = 0; n < 300; n++) here(subnet(n), 'no-route')
  assert.equal(last.size, 256)
  assert.equal(last.get(subnet(0)), undefined)
  here(subnet(299), 'no-session')
  assert.match(last.get(subnet(299))!.error, /^it answered no handshake/)
  here(subnet(1000), 'foreign-source')
  assert.equal(last.get(subnet(1000)), undefined)
  assert.equal(lines.length, 21, 'and told of, in bounds too')
  assert.match(lines[20]!, /^more is not told of for a minute; look at "zos mycelium routes"/)
  assert.match(lines[0]!, /^400::\/64 was not reached: no route: it does not run/)

  // who has a route again is not of them
  const routes = createRouter({ owns: () => true, send: () => {} })
  routes.linkUp(1, { base: 10, rtt: 1 }, 0)
  const prefix = { bytes: subnet(298), length: 64 }
  routes.receive(1, { type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId: simRouterId(1) }, 0)
  const { unreached, unreachedMore } = unreachedStatuses(routes, last, now + 1_000)
  assert.deepEqual([unreached.length, unreachedMore], [20, 235])
  assert.deepEqual(
    [unreached[0], unreached[1]?.subnet, unreached[19]?.subnet],
    [
      { subnet: '400:0:0:12b::/64', error: last.get(subnet(299))!.error, age: 1 },
      '400:0:0:129::/64',
      '400:0:0:117::/64',
    ],
  )
})

test('another node with our key is told of, but for what an earlier life of ours left behind', () => {
  const lines: string[] = []
  let now = 0
  const telling = createTelling(
    (line) => lines.push(line),
    () => now,
  )
  const clash = createClash(0, telling)
  clash.heard(subnet(1), 'tcp://192.0.2.1:9651', 20_000)
  assert.equal(clash.words(21_000), null)
  clash.heard(subnet(1), 'tcp://192.0.2.1:9651', 40_000)
  assert.match(
    clash.words(42_000)!,
    /^another node has the key of this one: .*heard from tcp:\/\/192.0.2.1:9651 \(400.*2 s ago\)$/,
  )
  assert.equal(lines.length, 1)
  assert.match(lines[0]!, /^another node has the key of this one: one file is on two machines, make another/)
  // heard of each second, told of every ten minutes
  for (now = 41_000; now < 700_000; now += 1_000) clash.heard(subnet(1), 'tcp://192.0.2.1:9651', now)
  assert.equal(lines.length, 2)
  assert.equal(clash.count, 660)
})
