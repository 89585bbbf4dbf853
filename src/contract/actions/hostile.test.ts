// What anyone may put on the chain, and what it must not do to others.
import assert from 'node:assert/strict'
import test from 'node:test'
import { passkeyOf } from '../keys/passkey.ts'
import { sayOf, WALLET } from '../testing/wallet.ts'
import { key, openWorld, refusal, resources, root, slot } from '../testing/world.ts'
import { countryHex, digestOf } from '../typed/digest.ts'
import { signerOf } from '../typed/passkey.ts'
import type { MemberSet, Registration } from '../typed/schema.ts'
import { consentArgs, freezeArgs } from './consent.ts'
import {
  approve,
  createGroup,
  draftTransition,
  exportLog,
  listDeployments,
  listGroups,
  listNodes,
  placedOn,
  propose,
  readConsent,
  readDeployment,
  readNode,
  readReports,
  sendReport,
  signReport,
} from './index.ts'
import { send, write } from './relayer.ts'

type Hex = `0x${string}`

test('a group that the contract takes and nobody can read keeps no list from anybody', {
  timeout: 180_000,
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
  timeout: 180_000,
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

test('a signature that no log can hold stops nobody’s deployment: it is no signature', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const n = await w.node('n')
  const phone = passkeyOf('phone', new Uint8Array(32).fill(1))
  const wallet = (await send(grid.engine, relayer, { data: WALLET })).contract!.toLowerCase() as Hex
  const { group } = await createGroup(grid, relayer, {
    members: [members.alice.address, signerOf(grid.domain, phone.address), wallet].map((address) => ({ address })),
    threshold: 1,
  })
  const { group: state, state: none } = await readConsent(grid, group, 'web')
  await propose(grid, relayer, members.alice, {
    transition: draftTransition(state, none, 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] }),
  })
  const place = (signer: Hex) => state.set.members.findIndex((m) => m.signer === signer)
  const until = Math.floor(Date.now() / 1000) + 60
  const f = { group, epoch: 1, name: 'web', sequence: 1, until }
  const digest = digestOf(grid.domain, 'Freeze', f)
  await send(grid.engine, relayer, { to: wallet, data: sayOf(digest, true) })
  const padded = `${phone.sign(digest)}${'00'.repeat(2048)}` as Hex
  for (const [signer, signature] of [
    [signerOf(grid.domain, phone.address), padded],
    [wallet, '0x'],
    [wallet, `0x${'00'.repeat(2049)}`],
  ] as const) {
    const stop = freezeArgs(f, { member: place(signer), signature })
    assert.match(await refusal(write(grid, relayer, 'freeze', stop)), /contract-BadSignature/)
  }
  await write(grid, relayer, 'freeze', freezeArgs(f, { member: place(wallet), signature: `0x${'00'.repeat(64)}` }))
  assert.equal((await readConsent(grid, group, 'web')).state.frozenUntil, until)
  assert.match(await exportLog(grid, group, 'web'), /zos-approval-log/)
})

test('a registration counts once, also behind a change of key; and no words of a node hurt who reads them', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, owner } = w
  const [first, second] = [key('first'), key('second')]
  const registration = (more: Partial<Registration>): Registration => ({
    node: 0,
    farm: w.farm,
    key: first.address,
    seal: first.seal,
    capacity: resources(),
    country: countryHex('DE'),
    attributes: '0x6e756c6c',
    nonce: 1,
    deadline: Math.floor(Date.now() / 1000) + 3600,
    ...more,
  })
  const register = (r: Registration, keys: (typeof first)[]) => {
    const digest = digestOf(grid.domain, 'Registration', r)
    return write(grid, relayer, 'registerNode', [r, keys.map((k) => k.sign(digest))])
  }
  const made = registration({})
  await register(made, [first, owner])
  const rotated = registration({ node: 1, key: second.address, nonce: 2 })
  await register(rotated, [second, owner, first])
  assert.match(await refusal(register(made, [first, owner])), /the key is in use/)
  // "null" is JSON
  assert.deepEqual(
    (await listNodes(grid)).map((n) => [n.id, n.key, n.attributes]),
    [[1, second.address, {}]],
  )
})

test('an old report posted again by anyone changes nothing', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid, relayer } = w
  const n = await w.node('n')
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const about = { group, name: 'web', slot: 0, node: n.id, sequence: 1 }
  const running = signReport(grid, n.key, { ...about, phase: 'running' })
  await sendReport(grid, relayer, running)
  await sendReport(grid, relayer, signReport(grid, n.key, { ...about, phase: 'failed', reason: 'out of memory' }))
  await sendReport(grid, relayer, running)
  assert.equal((await readDeployment(grid, group, 'web')).slots[0]!.phase, 'failed')
  assert.equal((await readReports(grid, group, 'web'))[0]!.reason, 'out of memory')
})

test('a migration that takes its time keeps no node from an operator who gives notice', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid } = w
  const [a, b] = [await w.node('a'), await w.node('b')]
  const operator = await w.another(`0x${Buffer.from(w.owner.secret).toString('hex')}`)
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, a.id)] })
  const { id } = await readDeployment(grid, group, 'web')
  await write(grid, operator, 'notice', [id, 0])
  // 194 days: as long as a step can say
  const away = { specRoot: root(1), slots: [slot(0, b.id)], drain: 2 ** 24 - 1 }
  await w.agree(group, 'web', 'migrate', away)
  assert.equal((await readNode(grid, a.id))!.used.ram, 128)
  assert.match(await refusal(write(grid, operator, 'reclaim', [id, 256])), /TooEarly/)
  assert.match(await refusal(write(grid, w.relayer, 'notice', [id, 256])), /not the owner/)
  await write(grid, operator, 'notice', [id, 256])
  assert.match(await refusal(write(grid, operator, 'notice', [id, 256])), /noticed before/)
  await w.pass(7 * 86400 + 1)
  await write(grid, operator, 'reclaim', [id, 256])
  assert.equal((await readNode(grid, a.id))!.used.ram, 0)
  const [left] = (await readDeployment(grid, group, 'web')).slots
  assert.deepEqual([left!.node, left!.leaving], [b.id, undefined])
  // a slot taken back is shown as that, where it was
  await write(grid, operator, 'notice', [id, 0])
  await w.pass(7 * 86400 + 1)
  await write(grid, operator, 'reclaim', [id, 0])
  const [gone] = (await readDeployment(grid, group, 'web')).slots
  assert.deepEqual([gone!.node, gone!.phase, (await readNode(grid, b.id))!.used.ram], [b.id, 'released', 0])
  assert.match(await refusal(write(grid, operator, 'reclaim', [id, 0])), /not the owner/)
})
