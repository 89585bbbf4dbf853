// A seeded random walk over the contract: each call is made by a model as well (testing/model.ts), and both must agree on
// whether it is taken and on all it leaves behind. Invariants I1–I10 are the model's own rules.
import assert from 'node:assert/strict'
import test from 'node:test'
import { createGroup, readConsent } from './actions/index.ts'
import { createFarm, registerNode } from './actions/nodes.ts'
import { caller } from './testing/compare.ts'
import * as model from './testing/model.ts'
import { randomOf } from './testing/random.ts'
import {
  dueCalls,
  members,
  nodeCalls,
  owners,
  people,
  slotCalls,
  step,
  stop,
  tally,
  type Walk,
} from './testing/walk.ts'
import { key, openWorld, resources } from './testing/world.ts'

const STEPS = process.env.ZOS_NIGHTLY ? 5000 : 120
// of a few tried, one whose short walk comes to a slot taken back and to a migration's end by time
const SEED = Number(process.env.ZOS_SEED ?? 2)

test(`${STEPS} random calls: the contract and its model agree on every one (I1 to I10)`, {
  timeout: 3_600_000,
}, async (t) => {
  // time stands still but for what the walk says, so that contract and model speak of the same second
  let seconds = Math.floor(Date.now() / 1000)
  await using w = await openWorld({ clock: () => seconds * 1000 })
  const walk: Walk = {
    w,
    m: { domain: w.grid.domain, nodes: new Map(), sets: new Map(), deployments: new Map(), names: new Map() },
    random: randomOf(SEED),
    now: () => seconds,
    forward: (s) => {
      seconds += s
    },
    call: caller(w),
  }
  const farms = [
    await createFarm(w.grid, w.relayer, owners[0]!.address, 'a'),
    await createFarm(w.grid, w.relayer, owners[1]!.address, 'b'),
  ]
  const ram = [1024, 512, 768, 2048]
  for (const [i, mib] of ram.entries()) {
    const owner = i % 2
    const capacity = resources({ cpu: 4000, ram: mib, ssd: 1600 })
    const country = i < 3 ? 'DE' : 'FR'
    const keys = { node: key(`node${i + 1}`), owner: owners[owner]! }
    await registerNode(w.grid, w.relayer, keys, { farm: farms[owner]!, capacity, country })
    const used = resources({ cpu: 0, ram: 0, ssd: 0 })
    walk.m.nodes.set(i + 1, { farm: owner + 1, country, up: true, capacity, used })
  }
  for (let i = 0; i < 2; i++) {
    const founded = await createGroup(w.grid, w.relayer, {
      members: people.slice(0, 4 - i).map((k) => ({ address: k.address })),
      threshold: 2 - i,
      freezeSeconds: 3600,
    })
    walk.m.sets.set(founded.group, { set: founded.set, digest: founded.digest })
  }
  await step(walk)
  for (let i = 0; i < STEPS; i++) {
    walk.forward(walk.random(30) ? walk.random(60) : 86400 * walk.random(9))
    const what = walk.random(20)
    if (what < 10 || walk.m.deployments.size === 0) await step(walk)
    else if (what < 12) await stop(walk)
    else if (what < 13) await members(walk)
    else if (what < 17) await slotCalls(walk)
    else if (what < 19) await dueCalls(walk)
    else await nodeCalls(walk)
  }
  t.diagnostic(`seed ${SEED}: ${[...tally].map(([k, n]) => `${k} ${n.taken}+${n.refused}`).join(', ')}`)
  const total = [...tally.values()].reduce((a, b) => ({ taken: a.taken + b.taken, refused: a.refused + b.refused }))
  // a short walk comes to I9's notice, a long one to whatever has its time
  for (const due of STEPS > 1000 ? ['reclaim', 'drained', 'expire'] : ['reclaim'])
    assert.ok(tally.get(due)!.taken > 0 && tally.get(due)!.refused > 0, `${due}: asked for before it was due, and when`)
  assert.ok(
    total.taken > STEPS / 4 && total.refused > STEPS / 10,
    'a walk that is nearly all taken or refused tests little',
  )
  // what groups agreed on over this whole walk verifies from its signatures
  for (const group of walk.m.sets.keys())
    for (const name of ['p', 'q']) {
      const { state } = await readConsent(w.grid, group, name)
      const d = model.deploymentOf(walk.m, group, name)
      assert.deepEqual([state.sequence, state.head], [d.sequence, d.head])
    }
})
