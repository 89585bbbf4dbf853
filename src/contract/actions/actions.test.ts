import assert from 'node:assert/strict'
import test from 'node:test'
import { verifyLog } from '../approval/log.ts'
import { openWorld, refusal, root, slot } from '../testing/world.ts'
import {
  approve,
  draftTransition,
  exportLog,
  freeze,
  listProposals,
  propose,
  readConsent,
  readDeployment,
  readGroup,
  readNode,
  readReports,
  sendReport,
  signReport,
} from './index.ts'

test('a group deploys, freezes, thaws, updates, undoes, migrates and cancels; its log verifies', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const n1 = await w.node('n1')
  const n2 = await w.node('n2')
  const team = await w.team()
  const group = team.group

  const first = await readConsent(grid, group, 'web')
  const draft = { specRoot: root(1), slots: [slot(0, n1.id)] }
  const transition = draftTransition(first.group, first.state, 'deploy', draft)
  const { id } = await propose(grid, relayer, members.alice, { transition })
  let open = await listProposals(grid, group)
  assert.deepEqual(
    open.map((p) => [p.id, p.deployment, p.kind, p.approvals, p.needs]),
    [[id, 'web', 'deploy', 1, 2]],
  )
  assert.equal((await readDeployment(grid, group, 'web')).state, 'none', '1 of 3 does not deploy')
  assert.match(await refusal(approve(grid, relayer, members.alice, group, id)), /approved it before/)
  assert.match(await refusal(approve(grid, relayer, w.owner, group, id)), /not one of its members/)
  await approve(grid, relayer, members.bob, group, id)
  open = await listProposals(grid, group)
  assert.deepEqual(open, [])
  let d = await readDeployment(grid, group, 'web')
  assert.deepEqual([d.state, d.version, d.slots.map((s) => [s.node, s.phase])], ['active', 1, [[1, 'reserved']]])
  assert.equal((await readNode(grid, 1))!.used.ram, 128)

  await sendReport(
    grid,
    relayer,
    signReport(grid, n1.key, {
      group,
      name: 'web',
      slot: 0,
      node: 1,
      sequence: 1,
      phase: 'running',
      reason: 'since boot',
    }),
  )
  const [reported] = (await readDeployment(grid, group, 'web')).slots
  assert.deepEqual([reported!.phase, reported!.said?.reason], ['running', 'since boot'], 'of one reading')
  const [report] = await readReports(grid, group, 'web')
  assert.deepEqual([report!.node, report!.phase, report!.reason], [1, 'running', 'since boot'])

  await freeze(grid, relayer, members.carol, group, 'web')
  d = await readDeployment(grid, group, 'web')
  assert.deepEqual([d.frozen, d.version, d.slots.length], [true, 1, 1])
  assert.match(await refusal(freeze(grid, relayer, members.carol, group, 'web')), /one freeze/)
  await w.agree(group, 'web', 'thaw')
  assert.equal((await readDeployment(grid, group, 'web')).frozen, false)

  await w.agree(group, 'web', 'update', { specRoot: root(2), slots: [slot(0, n1.id, { ram: 256 })] })
  await w.agree(group, 'web', 'undo', { specRoot: root(1), slots: [slot(0, n1.id)] })
  d = await readDeployment(grid, group, 'web')
  assert.deepEqual([d.version, d.sequence, d.specRoot], [3, 4, root(1)])

  await w.agree(group, 'web', 'migrate', { specRoot: root(1), slots: [slot(0, n2.id)], drain: 3600 })
  assert.equal((await readNode(grid, 1))!.used.ram, 128, 'the old node stays booked while it drains')
  assert.equal((await readNode(grid, 2))!.used.ram, 128)
  assert.equal((await readDeployment(grid, group, 'web')).slots[0]!.leaving!.node, 1)
  await sendReport(
    grid,
    relayer,
    signReport(grid, n2.key, { group, name: 'web', slot: 0, node: 2, sequence: 5, phase: 'running' }),
  )
  assert.equal((await readNode(grid, 1))!.used.ram, 0, 'the new node runs: the old one is free')

  const text = await exportLog(grid, group, 'web')
  const verified = verifyLog(text)
  assert.deepEqual([verified.state.version, verified.state.status, verified.group.group], [3, 'active', group])

  await w.agree(group, 'web', 'cancel')
  await w.agree(group, 'web', 'wipe')
  d = await readDeployment(grid, group, 'web')
  assert.deepEqual([d.state, d.slots.length, (await readNode(grid, 2))!.used.ram], ['wiped', 0, 0])
  assert.equal(verifyLog(await exportLog(grid, group, 'web')).state.status, 'wiped')
})

test('what the contract would refuse is not proposed', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const n1 = await w.node('n1', {}, 'DE')
  const { group } = await w.team()
  const consent = await readConsent(grid, group, 'big')
  const offer = (draft: object) =>
    refusal(
      propose(grid, relayer, members.alice, {
        transition: draftTransition(consent.group, consent.state, 'deploy', draft),
      }),
    )
  const fits = [slot(0, n1.id)]
  assert.match(
    await offer({ specRoot: root(1), slots: [slot(0, n1.id, { ram: 9000 * 1024 })] }),
    /node 1 has not that much free/,
  )
  assert.match(await offer({ specRoot: root(1), slots: [slot(0, 7)] }), /node 7 takes no new slots/)
  const de = '0x4445'
  const fr = '0x4652'
  assert.match(await offer({ slots: fits, rules: { allow: [fr], deny: [], farms: 0 } }), /geo rules forbid node 1/)
  assert.match(await offer({ slots: fits, rules: { allow: [], deny: [de], farms: 0 } }), /geo rules forbid node 1/)
  assert.match(await offer({ slots: fits, rules: { allow: [], deny: [], farms: 2 } }), /too few farms/)
  assert.match(await offer({ slots: fits, deadline: 1 }), /time is over/)
  assert.match(await offer({ slots: [slot(1, n1.id), slot(0, n1.id)] }), /ascending/)
  assert.match(await offer({ slots: fits, names: ['Not a label'] }), /no DNS label/)
  assert.deepEqual(await listProposals(grid, group), [])
  assert.equal((await readGroup(grid, group)).set.epoch, 1)
})
