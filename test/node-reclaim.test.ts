// A farmer has a slot back after the notice: the node lets it go by the farmer's signature, by nothing else.
import assert from 'node:assert/strict'
import test from 'node:test'
import {
  bookedOn,
  codeHashOf,
  type Grid,
  openGrid,
  openRelayer,
  readNode,
  reclaimSlot,
  setNodeState,
} from '../src/contract/index.ts'
import { type Lie, lyingEngine } from '../src/contract/testing/lie.ts'
import { key, openWorld, refusal, root, slot } from '../src/contract/testing/world.ts'
import { desiredOf } from '../src/node/provision/desired.ts'
import { ACTIVATE, leaseHolder } from '../src/node/provision/leases.ts'
import type { Pinned } from '../src/node/provision/pinned.ts'
import { poster } from '../src/node/provision/post.ts'
import { pull, type Self } from '../src/node/provision/pull.ts'
import { sleep } from '../src/sys/index.ts'

const DAY = 86_400
const noLease = () => ({ held: false as const, why: 'no lease' })

test('notice, then the slot: let go by the farmer’s signature alone, kept for 30 days, and back with the next version', {
  timeout: 60_000,
}, async () => {
  await using w = await openWorld()
  const { grid } = w
  const n = await w.node('here')
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id), slot(1, n.id)] })
  const me: Self = { id: n.id, codeHash: await codeHashOf(grid), owner: w.owner.address }
  const empty = (): Pinned => ({ cursor: null, groups: {}, deployments: {} })
  const lines: string[] = []
  const look = async (pinned: Pinned, self = me, by: Grid = grid) => {
    await pull(by, pinned, self, { whole: true, log: (line) => lines.push(line) })
    return Object.values(pinned.deployments)[0]!
  }
  const wanted = (d: Awaited<ReturnType<typeof look>>, days = 0) =>
    [...desiredOf(d, n.id, [0, 1], Date.now() + days * DAY * 1000, noLease).values()].map((x) =>
      x.do === 'run' ? 'run' : `${x.do}: ${x.why}`,
    )
  const pinned = empty()
  await look(pinned)

  const owner = await w.another(`0x${Buffer.from(w.owner.secret).toString('hex')}`)
  const booked = async (at: number) => (await bookedOn(grid, n.id)).find((b) => b.key === at)!
  assert.match(await refusal(reclaimSlot(grid, openRelayer(), await booked(0))), /not the owner/)
  const given = await reclaimSlot(grid, owner, await booked(0))
  assert.equal(given.back, false)
  assert.ok(Math.abs(given.until - Date.now() / 1000 - 7 * DAY) < 60)
  assert.deepEqual(await reclaimSlot(grid, owner, await booked(0)), { ...given, slot: await booked(0) }, 'said twice')
  assert.deepEqual(wanted(await look(pinned)), ['run', 'run'], 'a notice stops nothing')

  await w.pass(7 * DAY + 1)
  assert.equal((await reclaimSlot(grid, owner, await booked(0))).back, true)
  assert.equal((await readNode(grid, n.id))!.used.ram, 128, 'what it had booked is free')
  assert.deepEqual(
    (await bookedOn(grid, n.id)).map((b) => b.key),
    [1],
  )

  // the state alone is the chain's word: without the signature of the farmer this node knows, it runs on
  for (const [self, by] of [
    [{ ...me, owner: key('another').address }, grid],
    [me, lying(grid, (tx) => ({ ...tx, s: `0x${'1'.repeat(64)}` }))],
    [me, lying(grid, (tx) => ({ ...tx, nonce: '0x77' }))],
    [me, lying(grid, () => null)],
  ] as const) {
    const d = await look(empty(), self, by)
    assert.deepEqual([d.consent.sequence, wanted(d)], [1, ['run', 'run']])
    assert.match(d.held, /the farmer's signature for that was not found/)
  }
  const d = await look(pinned)
  assert.deepEqual([d.held, wanted(d)], ['', ['stop: taken back by the farmer', 'run']])
  assert.deepEqual(wanted(d, 29), ['stop: taken back by the farmer', 'run'], 'its data can still be had')
  assert.deepEqual(wanted(d, 31), ['wipe: taken back by the farmer 30 days ago', 'run'])
  assert.equal(lines.filter((l) => l === 'web/0: the farmer took it back').length, 1)
  assert.deepEqual(wanted(await look(empty())), ['stop: taken back by the farmer', 'run'], 'known from the chain alone')

  // the chain is a week ahead of those who sign
  const deadline = Math.floor(Date.now() / 1000) + 30 * DAY
  await w.agree(group, 'web', 'freeze', { deadline })
  assert.deepEqual(wanted(await look(pinned))[0], 'stop: taken back by the farmer', 'no step but one that places it')
  await w.agree(group, 'web', 'thaw', { deadline })
  await setNodeState(grid, owner, n.id, 'drain')
  const again = { deadline, specRoot: root(2), slots: [slot(0, n.id), slot(1, n.id)] }
  assert.match(await refusal(w.agree(group, 'web', 'update', again)), /takes no new slots/)
  await setNodeState(grid, owner, n.id, 'up')
  await w.agree(group, 'web', 'update', again)
  assert.deepEqual(wanted(await look(pinned)), ['run', 'run'])
})

const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'takes a minute: ZOS_NIGHTLY=1' }

test(
  'a fenced slot that was taken back goes to its standby while its node lives on; the two never hold it at once',
  nightly,
  async () => {
    await using w = await openWorld()
    const { grid } = w
    const [a, b] = [await w.node('a'), await w.node('b')]
    const { group } = await w.team()
    const slots = [slot(0, a.id, {}, { mode: 1 }), slot(0, b.id, {}, { mode: 2 })]
    await w.agree(group, 'db', 'deploy', { specRoot: root(1), slots })
    const codeHash = await codeHashOf(grid)
    const pinned: Pinned = { cursor: null, groups: {}, deployments: {} }
    await pull(grid, pinned, { id: a.id, codeHash, owner: w.owner.address }, { whole: true, log: () => {} })
    const [id] = Object.keys(pinned.deployments) as `0x${string}`[]
    const log = () => {}
    const holders = [a, b].map((n) => leaseHolder({ grid, post: poster(undefined, log), key: n.key, me: n.id, log }))
    const held = async () => {
      for (const h of holders) await h.turn(pinned.deployments)
      return holders.map((h) => h.of(id!, 0).held)
    }
    assert.deepEqual(await held(), [true, false])
    const owner = await w.another(`0x${Buffer.from(w.owner.secret).toString('hex')}`)
    const [booked] = await bookedOn(grid, a.id)
    await reclaimSlot(grid, owner, booked!)
    await w.pass(7 * DAY + 1)
    assert.deepEqual(await held(), [true, false], 'a notice takes no lease')
    assert.equal((await reclaimSlot(grid, owner, booked!)).back, true)
    const seen: string[] = []
    const begun = performance.now()
    for (let n = 0; n < 60 && seen.at(-1) !== 'false true'; n++) {
      await sleep(1000)
      seen.push((await held()).join(' '))
    }
    assert.ok(!seen.includes('true true'), 'both at once')
    assert.equal(seen[0], 'false false', 'who lost it knows at its next turn')
    assert.equal(seen.at(-1), 'false true')
    assert.ok(performance.now() - begun > ACTIVATE, 'before the other’s lease was surely over')
  },
)

/** The chain with another answer to who sent what. */
const lying = (grid: Grid, change: (tx: object) => object | null): Grid => {
  const lie: Lie = (method, _, answer) => (method === 'eth_getTransactionByHash' ? change(answer as object) : answer)
  return openGrid(
    lyingEngine(grid.engine, () => lie),
    grid.contract,
    { since: grid.since },
  )
}
