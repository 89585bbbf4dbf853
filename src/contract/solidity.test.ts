import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { sha256Hex } from '#codec'
import { freezeArgs } from './actions/consent.ts'
import {
  approve,
  createGroup,
  draftMembership,
  draftTransition,
  expire,
  freeze,
  listProposals,
  propose,
  readConsent,
  readDeployment,
  readGroup,
  readNode,
  registerNode,
  sendBeats,
  sendReport,
  signBeat,
  signProposal,
  signReport,
  submit,
} from './actions/index.ts'
import { createFarm } from './actions/nodes.ts'
import { write } from './actions/relayer.ts'
import { noConsent } from './approval/step.ts'
import { ledger } from './artifact.ts'
import { compileLedger, sourcesHash } from './compile.ts'
import { key, openWorld, refusal, resources, root, slot, type World } from './testing/world.ts'
import { digestOf } from './typed/digest.ts'

type Hex = `0x${string}`

test('the committed artifact is what the sources compile to', () => {
  assert.equal(ledger.sources, sourcesHash(), 'run tools/node.sh src/contract/compile.ts')
  // solc takes 15 to 40 s: once for each state of sources and artifact
  const seen = join(import.meta.dirname, '../../.cache', `ledger-${sha256Hex(Buffer.from(JSON.stringify(ledger)))}`)
  if (!existsSync(seen)) {
    const fresh = compileLedger()
    assert.equal(fresh.bytecode, ledger.bytecode)
    assert.deepEqual(fresh.abi, ledger.abi)
    mkdirSync(dirname(seen), { recursive: true })
    writeFileSync(seen, '')
  }
  assert.ok((ledger.deployedBytecode.length - 2) / 2 <= 24576, 'EIP-170')
  const sources = join(import.meta.dirname, 'solidity')
  const lines = readdirSync(sources).flatMap((name) => readFileSync(join(sources, name), 'utf8').split('\n'))
  const code = lines.filter((line) => !/^\s*(\/\/.*)?$/.test(line))
  assert.ok(code.length <= 600, `${code.length} lines of code: small enough to be read whole`)
})

test('two groups race for the last GiB: exactly one wins', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid } = w
  const n = await w.node('n', { ram: 1024 })
  const race = await Promise.all(
    ['x', 'y'].map(async (name) => {
      const group = await w.team()
      const { state } = await readConsent(grid, group.group, name)
      const transition = draftTransition(group, state, 'deploy', {
        specRoot: root(1),
        slots: [slot(0, n.id, { ram: 1024 })],
      })
      const signatures = [w.members.alice, w.members.bob]
        .map((k) => signProposal(grid, group, k, { transition }))
        .sort((a, b) => a.member - b.member)
      return { group, proposal: { subject: { transition }, signatures } }
    }),
  )
  const relayers = [await w.another(), await w.another()]
  const said = await Promise.all(race.map((r, i) => refusal(submit(grid, relayers[i]!, r.proposal))))
  assert.deepEqual(said.map((s) => s.replace(/:.*/, '')).sort(), ['contract-OverCapacity', 'it was taken'])
  assert.equal((await readNode(grid, n.id))!.used.ram, 1024)
})

test('members change while an update is in flight: the old epoch’s approvals die', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const n = await w.node('n')
  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)] })
  const before = await readConsent(grid, group, 'web')
  const transition = draftTransition(before.group, before.state, 'update', {
    specRoot: root(2),
    slots: [slot(0, n.id)],
  })
  const inFlight = await propose(grid, relayer, members.alice, { transition })
  const dave = key('dave')
  const set = draftMembership(
    before.group,
    { members: [members.alice, members.bob, dave].map((k) => ({ address: k.address })), threshold: 2 },
    Math.floor(Date.now() / 1000) + 600,
  )
  const change = await propose(grid, relayer, members.alice, { set })
  assert.deepEqual((await listProposals(grid, group)).map((p) => p.kind).sort(), ['membership', 'update'])
  await approve(grid, relayer, members.carol, group, change.id)
  assert.equal((await readGroup(grid, group)).set.epoch, 2)
  assert.deepEqual(await listProposals(grid, group), [])
  const old = [members.alice, members.carol]
    .map((k) => signProposal(grid, before.group, k, { transition }))
    .sort((a, b) => a.member - b.member)
  assert.match(
    await refusal(submit(grid, relayer, { subject: { transition }, signatures: old })),
    /contract-StaleEpoch/,
  )
  assert.match(
    await refusal(approve(grid, relayer, members.bob, group, inFlight.id)),
    /members changed since it was proposed/,
  )
  assert.match(await refusal(freeze(grid, relayer, members.carol, group, 'web')), /not one of its members/)
  await freeze(grid, relayer, dave, group, 'web')
  assert.equal((await readConsent(grid, group, 'web')).state.version, 1)
})

test('nodes: only their own key and their farm’s owner change them; heartbeats and notice', {
  timeout: 180_000,
}, async () => {
  await using w = await openWorld()
  const { grid, relayer, owner } = w
  const n = await w.node('n')
  const stranger = key('stranger')
  const again = { farm: w.farm, capacity: resources(), country: 'DE' }
  assert.match(await refusal(registerNode(grid, relayer, { node: key('m'), owner: stranger }, again)), /not the owner/)
  assert.match(await refusal(registerNode(grid, relayer, { node: n.key, owner }, again)), /key is in use/)
  assert.match(
    await refusal(registerNode(grid, relayer, { node: n.key, owner }, { ...again, node: n.id, nonce: 1 })),
    /nonce/,
  )
  assert.match(
    await refusal(
      registerNode(grid, relayer, { node: key('n2'), owner, old: stranger }, { ...again, node: n.id, nonce: 2 }),
    ),
    /the node's key/,
  )
  await registerNode(
    grid,
    relayer,
    { node: key('n2'), owner, old: n.key },
    { ...again, node: n.id, nonce: 2, country: 'FR', region: 'FR-75', latitude: 48.85, longitude: 2.35 },
  )
  const read = (await readNode(grid, n.id))!
  assert.deepEqual(
    [read.key, read.country, read.region, read.latitude, read.capacity.ram],
    [key('n2').address, 'FR', 'FR-75', 48.85, 128],
  )
  const now = Math.floor(Date.now() / 1000)
  await sendBeats(grid, relayer, [
    signBeat(grid, key('n2'), n.id, now),
    signBeat(grid, stranger, n.id, now + 1),
    signBeat(grid, key('n2'), n.id, now + 9999),
  ])
  assert.equal((await readNode(grid, n.id))!.seen, now)

  const { group } = await w.team()
  await w.agree(group, 'web', 'deploy', {
    specRoot: root(1),
    slots: [slot(0, n.id)],
    names: ['web'],
    expiry: Math.floor(Date.now() / 1000) + 60,
  })
  assert.match(
    await refusal(write(grid, relayer, 'notice', [(await readDeployment(grid, group, 'web')).id, 0])),
    /not the owner/,
  )
  const operator = await w.another(`0x${Buffer.from(owner.secret).toString('hex')}`)
  const { id } = await readDeployment(grid, group, 'web')
  assert.match(await refusal(write(grid, operator, 'reclaim', [id, 0])), /TooEarly/, 'I9: no end before its notice')
  await write(grid, operator, 'notice', [id, 0])
  assert.match(await refusal(write(grid, operator, 'reclaim', [id, 0])), /TooEarly/)
  const report = { group, name: 'web', slot: 0, node: n.id, sequence: 1, phase: 'running' as const }
  assert.match(await refusal(sendReport(grid, relayer, signReport(grid, stranger, report))), /contract-/)
  assert.match(
    await refusal(sendReport(grid, relayer, signReport(grid, key('n2'), { ...report, sequence: 2 }))),
    /sequence/,
  )

  assert.match(
    await refusal(
      w.agree(group, 'api', 'deploy', {
        specRoot: root(1),
        slots: [slot(0, n.id, { ram: 0, ssd: 0, cpu: 0 })],
        names: ['web'],
      }),
    ),
    /the name "web" is taken/,
  )
  assert.match(await refusal(expire(grid, relayer, group, 'web')), /TooEarly/)
  await w.pass(61)
  await expire(grid, relayer, group, 'web')
  assert.deepEqual(
    [(await readDeployment(grid, group, 'web')).state, (await readNode(grid, n.id))!.used.ram],
    ['expired', 0],
  )
  await w.agree(group, 'api', 'deploy', { specRoot: root(1), slots: [slot(0, n.id)], names: ['web'] })
  await w.agree(group, 'api', 'cancel')
  await w.agree(group, 'web', 'deploy', { specRoot: root(2), slots: [slot(0, n.id)] })
  assert.equal((await readDeployment(grid, group, 'web')).version, 2)
})

test('gas per operation is the snapshot’s', { timeout: 180_000 }, async () => {
  await using w = await openWorld()
  const { grid, relayer } = w
  const gas: Record<string, number> = {}
  const n = await Promise.all(['g1', 'g2', 'g3', 'g4'].map((x) => w.node(x)))
  gas['register node'] = Number(n[3]!.gas)
  const team = await w.team()
  const { group } = team
  gas['group 2-of-3'] = Number(team.gas)
  const at = (i: number) => slot(i, n[i]!.id)
  const agree = async (
    label: string,
    name: string,
    ...rest: Parameters<World['agree']> extends [Hex, string, ...infer R] ? R : never
  ) => {
    gas[label] = Number(await w.agree(group, name, ...rest))
  }
  await w.agree(group, 'zero', 'deploy', { specRoot: root(1), slots: [at(0), at(1), at(2)] })
  await agree('approve 2-of-3, 1 node', 'one', 'deploy', { specRoot: root(1), slots: [at(0)] })
  await agree('approve 2-of-3, 3 nodes', 'three', 'deploy', { specRoot: root(1), slots: [at(0), at(1), at(2)] })
  await agree('update 2-of-3', 'one', 'update', { specRoot: root(2), slots: [at(0)] })
  await agree('migrate 2-of-3', 'one', 'migrate', { specRoot: root(2), slots: [slot(0, n[3]!.id)] })
  const report = {
    group,
    name: 'one',
    slot: 0,
    node: n[3]!.id,
    sequence: 3,
    phase: 'running' as const,
    reason: 'ready',
  }
  gas['node ack'] = Number((await sendReport(grid, relayer, signReport(grid, n[3]!.key, report))).gas)
  const { group: state, state: consent } = await readConsent(grid, group, 'one')
  const f = {
    group,
    epoch: state.set.epoch,
    name: 'one',
    sequence: consent.sequence,
    until: Math.floor(Date.now() / 1000) + 3600,
  }
  const member = state.set.members.findIndex((m) => m.signer === w.members.carol.address)
  const signature = w.members.carol.sign(digestOf(grid.domain, 'Freeze', f))
  gas.freeze = Number((await write(grid, relayer, 'freeze', freezeArgs(f, { member, signature }))).gas)
  await agree('thaw', 'one', 'thaw')
  await agree('cancel', 'one', 'cancel')
  const nine = Array.from({ length: 9 }, (_, i) => key(`nine${i}`))
  const large = await createGroup(grid, relayer, {
    members: nine.map((k) => ({ address: k.address, seal: k.seal })),
    threshold: 5,
  })
  gas['group 5-of-9'] = Number(large.gas)
  const wanted = draftTransition(large, noConsent('five'), 'deploy', { specRoot: root(1), slots: [at(0)] })
  const five = nine.slice(0, 5).map((k) => signProposal(grid, large, k, { transition: wanted }))
  const agreed = await submit(grid, relayer, { subject: { transition: wanted }, signatures: five })
  gas['approve 5-of-9, 1 node'] = Number(agreed.gas)
  const beat = signBeat(grid, n[0]!.key, n[0]!.id, Math.floor(Date.now() / 1000))
  gas.heartbeat = Number((await sendBeats(grid, relayer, [beat])).gas)
  const batch = n.map(({ key, id }) => signBeat(grid, key, id, beat.time + 1))
  gas['heartbeat, each of 4'] = Math.round(Number((await sendBeats(grid, relayer, batch)).gas) / 4)
  await createFarm(grid, relayer, w.owner.address, 'second')
  // to make a new snapshot by hand; other networks have prices of their own
  if (process.env.ZOS_GAS || process.env.ZOS_TEST_RPC) console.error(gas)
  const snapshot = JSON.parse(readFileSync(join(import.meta.dirname, 'gas.json'), 'utf8')) as Record<
    string,
    { gas: number; prototype: number }
  >
  assert.deepEqual(Object.keys(gas).sort(), Object.keys(snapshot).sort())
  for (const [what, used] of Object.entries(gas)) {
    const { gas: was, prototype } = snapshot[what]!
    assert.ok(was <= prototype * 1.3, `${what}: ${was} is above 1.3 of the prototype's ${prototype}`)
    if (process.env.ZOS_TEST_RPC) continue
    // calldata's zero bytes vary with signatures and digests
    assert.ok(Math.abs(used - was) < was * 0.02 + 500, `${what}: ${used}, snapshot ${was}`)
  }
})
