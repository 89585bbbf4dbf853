import assert from 'node:assert/strict'
import test from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { encodeControl } from '../wire/control.ts'
import { createRouter } from './router.ts'
import { simRouterId, simSubnet } from './simulate.ts'

const ROUTES = 1_000
const IDENTITIES = 100
const MINUTE = 60_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const used = (): number => {
  collect()
  return process.memoryUsage().heapUsed
}

test('1,000 routes and 100 identities: what they cost in memory, and in bytes to each neighbour', (t) => {
  const before = used()
  let bytes = 0
  const router = createRouter({
    owns: () => true,
    send: (link, message) => {
      if (link === 2) bytes += encodeControl(message).length
    },
  })
  for (let i = 0; i < IDENTITIES; i++) router.addOrigin(simSubnet(ROUTES + i), simRouterId(ROUTES + i), 0)
  for (const link of [1, 2]) router.linkUp(link, { base: 10, rtt: 1 }, 0)
  /** Of ten minutes, with neighbours that answer, the first of which tells of every route as often as it should. */
  let due = 0
  for (let now = 0; now < 10 * MINUTE; now = Math.max(now + 1, Math.min(due, now + 1_000))) {
    if (now % (5 * MINUTE) === 0)
      for (let i = 0; i < ROUTES; i++) {
        const prefix = { bytes: simSubnet(i), length: 64 }
        const update = {
          type: 'update',
          interval: 30_000,
          seqno: 0,
          metric: 5,
          prefix,
          routerId: simRouterId(i),
        } as const
        router.receive(1, update, now)
      }
    due = router.tick(now)
    for (const link of [1, 2]) router.receive(link, { type: 'ihu', rxcost: 10, interval: 300 }, now)
  }
  assert.equal([...router.entries.values()].filter((entry) => entry.selected).length, ROUTES)
  const memory = used() - before
  const perMinute = bytes / 10
  t.diagnostic(`${(memory / 1e6).toFixed(2)} MB of heap; ${(perMinute / 1e3).toFixed(1)} kB a minute to each neighbour`)
  assert.ok(memory < 4e6, `${memory} bytes`)
  // what changed, its own again every five minutes, and a Hello a second
  assert.ok(perMinute > 5_000 && perMinute < 20_000, `${perMinute} bytes a minute`)
})
