import assert from 'node:assert/strict'
import test from 'node:test'
import type { Kind } from '#contract'
import { volumeName } from './names.ts'
import type { Watched } from './pinned.ts'
import { deployment, ID, keeper, ME, Model } from './testing/compute.ts'

/** Killed at call AT and started anew, the slots come to the same end. True when the kill fell within the work. */
async function killedAt(
  at: number,
  after: boolean,
  from: Watched,
  to: Watched,
  end: (m: Model) => void,
): Promise<boolean> {
  const model = new Model()
  await keeper(model)({ [ID]: from })
  const before = model.starts
  Object.assign(model, { calls: 0, dieAt: at, after })
  await keeper(model)({ [ID]: to }).catch(() => {})
  const fell = model.dead
  Object.assign(model, { dead: false, dieAt: Number.POSITIVE_INFINITY })
  const again = keeper(model)
  for (let pass = 0; pass < 2; pass++) await again({ [ID]: to })
  end(model)
  assert.ok(model.starts - before <= 2, 'what runs is not started again')
  return fell
}

const kinds: [
  Kind | 'taken back' | `wipe and ${string}`,
  (d: Watched, next: Watched) => Watched,
  (m: Model) => void,
][] = [
  [
    'update',
    (_d, next) => next,
    (m) => assert.deepEqual([m.running(), m.workloads.size], [['2'.repeat(64), '2'.repeat(64)], 2]),
  ],
  [
    'freeze',
    (d) => ({ ...d, consent: { ...d.consent, frozenUntil: 2e9 } }),
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [[], 2, 2]),
  ],
  [
    'cancel',
    (d) => ({ ...d, consent: { ...d.consent, status: 'cancelled' } }),
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [[], 2, 2]),
  ],
  [
    'migrate',
    (d) => {
      const slots = d.consent.placed!.slots.map((s) => ({ ...s, node: ME + 1 }))
      return { ...d, released: [0, 1], consent: { ...d.consent, placed: { ...d.consent.placed!, slots } } }
    },
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [[], 2, 2]),
  ],
  [
    'taken back',
    (d) => ({ ...d, back: { 0: { step: 1, since: Date.now() } } }),
    (m) => assert.deepEqual([m.running(), m.workloads.size, m.volumes.size], [['1'.repeat(64)], 2, 2]),
  ],
  [
    'wipe',
    (d) => ({ ...d, consent: { ...d.consent, status: 'wiped' } }),
    (m) => assert.deepEqual([m.workloads.size, m.volumes.size], [0, 0]),
  ],
  [
    'wipe and deploy',
    // one look shows both: what was there before is deleted, and no new version is given it
    (_d, next) => ({ ...next, consent: { ...next.consent, wiped: 2 } }),
    (m) => {
      assert.deepEqual([m.running(), m.workloads.size], [['2'.repeat(64), '2'.repeat(64)], 2])
      assert.deepEqual(
        [...m.volumes].sort(),
        [0, 1].map((slot) => volumeName(ID, slot, 'data', 2)),
      )
    },
  ],
  [
    'wipe and deploy elsewhere',
    (_d, next) => {
      const slots = next.consent.placed!.slots.map((s) => ({ ...s, node: ME + 1 }))
      return { ...next, consent: { ...next.consent, wiped: 2, placed: { ...next.consent.placed!, slots } } }
    },
    (m) => assert.deepEqual([m.workloads.size, m.volumes.size], [0, 0]),
  ],
]

for (const [kind, change, end] of kinds) {
  test(`${kind}: killed at each call, before and after it took effect, the node comes to the same end`, async () => {
    const first = await deployment(1)
    const to = change(first, await deployment(2))
    let kills = 0
    for (const after of [false, true]) {
      for (let at = 1; await killedAt(at, after, first, to, end); at++) kills++
    }
    assert.ok(kills >= (kind === 'taken back' ? 2 : 4), `${kills} kills`)
  })
}

test('what ended by itself stays as its policy has it, whichever plane was killed meanwhile', async () => {
  for (const [restart, states] of [
    ['no', ['exited', 'exited']],
    ['unless-stopped', ['running', 'running']],
    ['on-failure', ['exited', 'running']],
  ] as const) {
    const model = new Model()
    const d = await deployment(1, restart)
    await keeper(model)({ [ID]: d })
    const finishedAt = new Date().toISOString()
    for (const [n, w] of [...model.workloads.values()].entries())
      Object.assign(w, { state: 'exited', exitCode: n, finishedAt })
    await keeper(model)({ [ID]: d })
    assert.deepEqual(
      [...model.workloads.values()].map((w) => w.state),
      states,
      restart,
    )
  }
})

test('a spec that asks for more or less than was booked does not run, whichever resource it is', async () => {
  const model = new Model()
  for (const [resource, booked] of [
    ['cpu', 999],
    ['ram', 32],
    ['ssd', 1024],
    ['hdd', 1],
    ['uplink', 0],
    ['uplink', 501],
    ['gpu', 1],
    ['ipv4', 1],
  ] as const) {
    const words = await keeper(model)({ [ID]: await deployment(1, 'no', { [resource]: booked }) })
    const said = words.get(ID)!.get(0)!
    assert.equal(said.phase, 'failed')
    assert.match(said.reason, new RegExp(`the spec asks for \\d+ of ${resource}, agreed on was ${booked}$`))
  }
  // the sum is right, its parts are not
  const volume = (size: unknown) => ({ name: 'data', path: '/data', size, readonly: false })
  for (const disks of [
    { disk: 2024, volumes: [volume(-999)] },
    { disk: -1, volumes: [volume(1026)] },
    { disk: 1024.5, volumes: [volume(0.5)] },
    { volumes: [volume(0), volume(1)] },
    { disk: '1024', volumes: [volume(1)] },
  ]) {
    const words = await keeper(model)({ [ID]: await deployment(1, 'no', {}, disks) })
    assert.match(words.get(ID)!.get(0)!.reason, /the spec asks for a disk or volume of \S+ MiB/)
  }
  assert.equal(model.workloads.size, 0)
  await keeper(model)({ [ID]: await deployment(1) })
  assert.equal(model.running().length, 2)
})

test('absence from a list deletes nothing', async () => {
  const model = new Model()
  await keeper(model)({ [ID]: await deployment(1) })
  await keeper(model)({})
  assert.equal(model.running().length, 2)
})

test('what fails its health check runs on, and its group is told', async () => {
  const model = new Model()
  const keep = keeper(model)
  const from = await deployment(1)
  const reasons = async () => [...(await keep({ [ID]: from })).get(ID)!.values()].map((s) => `${s.phase} ${s.reason}`)
  assert.deepEqual(await reasons(), ['running ', 'running '])
  // two starts are under way at once: which of them was first is not said
  const [one, two] = [...model.workloads.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  Object.assign(one!, { health: 'unhealthy' })
  Object.assign(two!, { health: 'healthy' })
  assert.deepEqual(await reasons(), ['running unhealthy: its health check fails', 'running '])
  assert.equal(model.starts, 2)
})
