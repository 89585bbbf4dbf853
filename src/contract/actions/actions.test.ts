import assert from 'node:assert/strict'
import test from 'node:test'
import { verifyLog } from '../approval/log.ts'
import { openWorld, refusal, root, slot } from '../testing/world.ts'
import {
  approve,
  createGroup,
  draftMembership,
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

test('those who approve at one moment: it takes effect once, and each is told so; of one that is closed it is said why', {
  timeout: 60_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer } = w
  const { alice, bob, carol } = w.members
  const n1 = await w.node('n1')
  const all = Object.values(w.members).map(({ address, seal }) => ({ address, seal }))
  const deploy = async (group: `0x${string}`, n: number) => {
    const c = await readConsent(grid, group, 'web')
    const kind = c.state.status === 'none' ? 'deploy' : 'update'
    const draft = { specRoot: root(n), slots: [slot(0, n1.id)] }
    return (await propose(grid, relayer, alice, { transition: draftTransition(c.group, c.state, kind, draft) })).id
  }
  // both have looked before either has signed
  const atOnce = async (group: `0x${string}`, id: `0x${string}`) => {
    let met = 0
    const wait = Promise.withResolvers<void>()
    const engine = {
      ...grid.engine,
      async request(asked: { method: string; params?: unknown[] }) {
        if (asked.method === 'eth_estimateGas' && ++met <= 2) {
          if (met === 2) wait.resolve()
          await wait.promise
        }
        return grid.engine.request(asked)
      },
    }
    const two = [bob, carol].map(async (who) => approve({ ...grid, engine }, await w.another(), who, group, id))
    return (await Promise.all(two)).map(({ agreed }) => agreed)
  }
  const { group } = await w.team()
  const first = await deploy(group, 1)
  assert.deepEqual(await atOnce(group, first), [true, true], '2 of 3')
  const step = `it was agreed on, as step 1 of "web"`
  assert.match(await refusal(approve(grid, relayer, carol, group, first)), new RegExp(`^no-proposal: .*: ${step}$`))

  const trio = (await createGroup(grid, relayer, { members: all, threshold: 3, freezeSeconds: 60 })).group
  assert.ok((await atOnce(trio, await deploy(trio, 1))).includes(true), '3 of 3, whose last two saw one signature each')
  assert.equal((await readDeployment(grid, trio, 'web')).version, 1)
  const lasts = (await freeze(grid, relayer, carol, trio, 'web')).until - Date.now() / 1000
  assert.ok(lasts > 40 && lasts <= 60, `frozen for ${lasts} s of the 60 that are agreed`)

  const late = await deploy(group, 2)
  await w.agree(group, 'web', 'update', { specRoot: root(3), slots: [slot(0, n1.id)] })
  assert.match(
    await refusal(approve(grid, relayer, bob, group, late)),
    /"web" has gone on to step 2 without it; propose/,
  )
  const stale = await deploy(group, 4)
  const state = await readGroup(grid, group)
  const set = draftMembership(state, { members: all.slice(0, 2), threshold: 1 }, 2 ** 34)
  const change = await propose(grid, relayer, alice, { set })
  await approve(grid, relayer, bob, group, change.id)
  assert.match(await refusal(approve(grid, relayer, bob, group, stale)), /members changed since it was proposed/)
  assert.match(await refusal(approve(grid, relayer, bob, group, change.id)), /it was agreed on, and made epoch 2$/)
})
