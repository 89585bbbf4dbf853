// The thin line through the door: spec → placement → sealing → proposal → approvals → a node that verifies for itself.
import assert from 'node:assert/strict'
import test from 'node:test'
import {
  applyApproval,
  approve,
  type Consent,
  describe,
  draftTransition,
  listNodes,
  listProposals,
  noConsent,
  openSealed,
  parseSpec,
  placeSlots,
  poll,
  proposalId,
  propose,
  readConsent,
  readGroup,
  rulesOf,
  salted,
  sealSpecs,
  slotsOf,
} from '#contract'
import { openWorld } from './testing/world.ts'

const yaml = (tag: string) => `name: web
workloads:
  - { name: web, image: web, flist: ${'ab'.repeat(32)}, memory: 128m, cpus: 1, ports: [80], env: { SECRET: s3cr3t-${tag} }, replicas: 2 }
`

test('a spec is placed on nodes, sealed, agreed on, and taken by its node from signatures alone', async () => {
  await using w = await openWorld()
  const { grid, relayer, members } = w
  const machines = [await w.node('n1'), await w.node('n2'), await w.node('n3')]
  const { group } = await w.team()
  const hub = new Map<string, Uint8Array>()

  // the deployer: alice
  const spec = parseSpec(yaml('one'), 'web.yaml')
  const wanted = slotsOf(spec)
  const nodes = await listNodes(grid)
  const placed = placeSlots(wanted, nodes, { rules: rulesOf(spec) })
  const before: Consent = await readConsent(grid, group, spec.name)
  const readers = before.group.set.members.map((m) => m.seal)
  const specs = wanted.map((s) => salted(s.spec))
  const { root, sealed } = await sealSpecs(specs, (n) => [placed[n]!.node.seal, ...readers])
  for (const s of sealed) hub.set(s.blob, s.bytes)
  const slots = placed.map(({ slot, node }, n) => ({
    index: slot.index,
    mode: slot.mode,
    node: node.id,
    blob: sealed[n]!.blob,
    resources: slot.resources,
  }))
  const transition = draftTransition(before.group, before.state, 'deploy', {
    specRoot: root,
    slots,
    rules: rulesOf(spec),
    drain: spec.drain,
  })
  const { id } = await propose(grid, relayer, members.alice, { transition })
  assert.equal(
    [...hub.values()].some((b) => Buffer.from(b).includes('s3cr3t')),
    false,
  )

  // another member: bob sees in words what he signs
  const open = (await listProposals(grid, group))[0]!
  const t = 'transition' in open.subject ? open.subject.transition : assert.fail()
  const opened = await Promise.all(
    t.slots.map((s, index) =>
      openSealed(hub.get(s.blob)!, members.bob.sealSecret, {
        blob: s.blob,
        specRoot: t.specRoot,
        index,
        count: t.slots.length,
      }),
    ),
  )
  const words = describe(open.subject, { nodes, specs: opened.map((o) => o.spec) }).join('\n')
  assert.match(words, /web[\s\S]*128/)
  assert.equal(words.includes('s3cr3t'), false)
  await approve(grid, relayer, members.bob, group, id)

  // the node: it pinned the group, sees an event, and believes only signatures and hashes
  const mine = machines[1]!
  const { events } = await poll(grid)
  const approved = events.find((e) => e.name === 'Approved')!
  const { log } = await readConsent(grid, group, 'web')
  const step = log!.approvals.at(-1)!
  assert.equal(proposalId(grid, { transition: approved.args.transition as typeof transition }), id)
  const now = Math.floor(Date.now() / 1000)
  const state = applyApproval(await readGroup(grid, group), noConsent('web'), step.transition, step.signatures, { now })
  const place = state.placed!.slots.findIndex((s) => s.node === mine.id)
  const blob = state.placed!.slots[place]!.blob
  const expected = { blob, specRoot: state.placed!.specRoot, index: place, count: state.placed!.slots.length }
  const told = await openSealed(hub.get(blob)!, mine.key.sealSecret, expected)
  assert.deepEqual(told.spec, specs[place]!.spec)
  const other = state.placed!.slots[1 - place]!.blob
  await assert.rejects(openSealed(hub.get(other)!, mine.key.sealSecret, expected), { code: 'blob-mismatch' })
})
