// What anyone may put on the chain, and what it must not do to others.
import assert from 'node:assert/strict'
import test from 'node:test'
import { openWorld, root, slot } from '../testing/world.ts'
import type { MemberSet } from '../typed/schema.ts'
import { consentArgs } from './consent.ts'
import { approve, draftTransition, listDeployments, listGroups, placedOn, propose, readConsent } from './index.ts'
import { write } from './relayer.ts'

test('a group that the contract takes and nobody can read keeps no list from anybody', {
  timeout: 60_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const team = await w.team()
  // a time that no number holds
  const odd = { ...team.set, previous: root(1), deadline: 2n ** 63n } as unknown as MemberSet
  await write(grid, relayer, 'setGroup', [odd, ...consentArgs([])])
  const bad: string[] = []
  const found = await listGroups(grid, { bad: (id) => bad.push(id) })
  assert.deepEqual(
    found.map((g) => g.group),
    [team.group],
  )
  assert.equal(bad.length, 1)
  assert.equal((await listGroups(grid, { address: members.alice.address })).length, 1)
})

test('a deployment with more names than we take hides no other from its node or its group', {
  timeout: 60_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const n = await w.node('n')
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const { group: state, state: none } = await readConsent(grid, group, 'odd')
  const names = Array.from({ length: 17 }, (_, i) => `n${i}`)
  const transition = draftTransition(state, none, 'deploy', { specRoot: root(2), slots: [slot(0, n.id)], names })
  const digest = (await propose(grid, relayer, members.alice, { transition })).id
  await assert.rejects(approve(grid, relayer, members.bob, group, digest), { code: 'no-proposal' })
  const by = [members.alice, members.bob].map((k) => ({
    member: state.set.members.findIndex((m) => m.signer === k.address),
    signature: k.sign(digest),
  }))
  await write(grid, relayer, 'approve', [transition, ...consentArgs(by)])
  const placed = await placedOn(grid, n.id, new Set())
  assert.deepEqual(placed.map((p) => p.name).sort(), ['odd', 'web'])
  assert.deepEqual(await listDeployments(grid, group), ['web', 'odd'])
  assert.equal((await readConsent(grid, group, 'web')).state.version, 1)
})
