import assert from 'node:assert/strict'
import test from 'node:test'
import type { Node } from '../actions/nodes.ts'
import { type Draft, draftTransition } from '../actions/proposals.ts'
import { migrationOf, undoOf } from '../approval/draft.ts'
import { noConsent } from '../approval/step.ts'
import { resources, root, slot } from '../testing/world.ts'
import type { Member, MemberSet } from '../typed/schema.ts'
import { describe, diffSpecs } from './describe.ts'
import { parseSpec } from './parse.ts'
import { placeSlots } from './place.ts'
import { rulesOf, slotsOf } from './slots.ts'

const node = (id: number, more: Partial<Node> = {}): Node => ({
  id,
  farm: 1,
  key: `0x${'00'.repeat(20)}`,
  seal: root(1),
  country: 'DE',
  region: '',
  latitude: 0,
  longitude: 0,
  state: 'up',
  seen: 0,
  capacity: resources({ cpu: 4000, ram: 1024, ssd: 10240 }),
  used: resources({ cpu: 0, ram: 0, ssd: 0 }),
  attributes: { name: `n${id}` },
  nonce: 1,
  ...more,
})

const wanted = (more: string) =>
  slotsOf(
    parseSpec(
      `name: web\nworkloads:\n  - { name: web, image: w, flist: ${'ab'.repeat(32)}, memory: 256m${more} }\n`,
      'x',
    ),
  )

test('slots go where there is room and they are allowed, spread over farms and nodes', () => {
  const nodes = [node(1), node(2), node(3, { farm: 2 }), node(4, { farm: 3, country: 'FR' })]
  const ids = (more: string, options = {}) => placeSlots(wanted(more), nodes, options).map((p) => p.node.id)
  assert.deepEqual(ids(', replicas: 4'), [1, 3, 4, 2])
  assert.deepEqual(ids(', replicas: 2, geo: { countries: [DE] }'), [1, 3])
  assert.deepEqual(ids(', geo: { notCountries: [DE] }'), [4])
  assert.deepEqual(ids(', nodes: [n2]'), [2])
  assert.deepEqual(ids(', nodes: ["3"]'), [3])
  assert.deepEqual(ids(', mode: fenced, standby: true'), [1, 3], 'a standby is elsewhere')
  const current = new Map([[0, { node: 2, resources: resources({ ram: 256 }) }]])
  assert.deepEqual(ids('', { current }), [2], 'it stays where it is')
  assert.deepEqual(
    placeSlots(wanted(''), [node(1, { attributes: { price: 5 } }), node(2, { attributes: { price: 3 } })]).map(
      (p) => p.node.id,
    ),
    [2],
  )
})

test('a node that gives no sign of life any more is the last choice, but for what is there or is pinned to it', () => {
  const now = 1_700_000_000
  const nodes = [node(1, { seen: now - 1300 }), node(2, { farm: 2, seen: now - 1100 }), node(3, { farm: 3 })]
  const ids = (more: string, options = {}) => placeSlots(wanted(more), nodes, { now, ...options }).map((p) => p.node.id)
  assert.deepEqual(ids(', replicas: 3'), [2, 3, 2], 'one that is new has given none yet')
  assert.deepEqual(ids(', nodes: [n1]'), [1])
  const current = new Map([[0, { node: 1, resources: resources({ ram: 256 }) }]])
  assert.deepEqual(ids('', { current }), [1], 'its data is there')
  assert.deepEqual(ids(', replicas: 9').includes(1), true, 'better than nothing')
  assert.deepEqual(ids(', replicas: 3', { now: now - 1000 }), [1, 2, 3])
})

test('a slot with less choice loses its node to none with more, and slots that share a farm leave it for the rules', () => {
  const full = { capacity: resources({ cpu: 1000, ram: 256, ssd: 10240 }) }
  const nodes = [node(1, full), node(2, { ...full, farm: 2, country: 'FR' })]
  const two = (more: string) => {
    const one = (name: string, rest: string) =>
      `  - { name: ${name}, image: w, flist: ${'ab'.repeat(32)}, memory: 256m${rest} }\n`
    return slotsOf(parseSpec(`name: web\nworkloads:\n${one('a', '')}${one('b', more)}`, 'x'))
  }
  for (const more of [', nodes: [n1]', ', geo: { countries: [DE] }', ', geo: { notCountries: [FR] }'])
    assert.deepEqual(
      placeSlots(two(more), nodes).map((p) => [p.slot.index, p.node.id]),
      [
        [0, 2],
        [1, 1],
      ],
      more,
    )
  // what has a place keeps it, whatever is new: where it left, its room would be booked for a while yet
  const third = [...nodes, node(3, { ...full, farm: 3 })]
  const at = (id: number) => ({ current: new Map([[0, { node: id, resources: resources({ ram: 256 }) }]]) })
  for (const id of [1, 3])
    assert.deepEqual(
      placeSlots(two(', geo: { countries: [DE] }'), third, at(id)).map((p) => p.node.id),
      [id, 4 - id],
    )
  // all on one farm, until a new version of the rules wants two: one of them moves
  const three = [node(1), node(2), node(3, { farm: 2 }), node(4, { farm: 3 })]
  const current = new Map([1, 2, 1].map((id, n) => [n, { node: id, resources: resources({ ram: 256 }) }]))
  const ids = (farms: number, more = ', replicas: 3') =>
    placeSlots(wanted(more), three, { current, rules: { allow: [], deny: [], farms } }).map((p) => p.node.id)
  assert.deepEqual(ids(1), [1, 2, 1])
  assert.deepEqual(ids(2), [1, 3, 1])
  assert.deepEqual(ids(3), [1, 3, 4])
  assert.throws(() => ids(2, ', replicas: 3, nodes: [n1, n2, n1]'), /on 2 farms, but only 1/)
  // what the second one left is booked while it drains: the new one does not get it, though it is cheaper there
  const room = (used: number) => ({
    capacity: resources({ cpu: 4000, ram: 512, ssd: 10240 }),
    used: resources({ cpu: 0, ram: used, ssd: 0 }),
  })
  const dear = [
    node(1, room(512)),
    node(2, { ...full, farm: 2, country: 'FR' }),
    node(3, { ...room(256), attributes: { price: 5 } }),
  ]
  const stood = new Map([1, 1, 3].map((id, n) => [n, { node: id, resources: resources({ ram: 256 }) }]))
  const more = wanted(', replicas: 4, geo: { countries: [DE] }')[3]!
  const moved = placeSlots([...wanted(', replicas: 3'), more], dear, {
    current: stood,
    rules: { allow: [], deny: [], farms: 2 },
  })
  assert.deepEqual(
    moved.map((p) => p.node.id),
    [1, 2, 3, 3],
  )
})

test('what fits is placed, though the first, spread out, leave no room for the large', () => {
  const all = (...sizes: number[]) => {
    const some = sizes.map(
      (mib, n) => `  - { name: w${n}, image: w, flist: ${'ab'.repeat(32)}, memory: ${mib}m, cpus: 0.1 }`,
    )
    return slotsOf(parseSpec(`name: web\nworkloads:\n${some.join('\n')}\n`, 'x'))
  }
  const ids = (rooms: number[], ...sizes: number[]) => {
    const nodes = rooms.map((ram, n) => node(n + 1, { capacity: resources({ cpu: 4000, ram, ssd: 10240 }) }))
    return placeSlots(all(...sizes), nodes).map((p) => p.node.id)
  }
  assert.deepEqual(ids([1024, 1024], 256, 256, 1024), [2, 2, 1])
  assert.deepEqual(ids([768, 512], 512, 384, 384), [2, 1, 1])
  assert.throws(() => ids([768, 512], 512, 384, 385), /Place slot \d of "web": it needs \d+ MiB memory, the most free/)
})

test('what cannot be placed is refused, naming the slot and what is short', () => {
  const nodes = [node(1), node(2, { state: 'drain' })]
  const says = (more: string, options = {}) => {
    try {
      placeSlots(wanted(more), nodes, options)
    } catch (error) {
      return (error as Error).message
    }
    return 'placed'
  }
  assert.equal(says(', replicas: 5'), 'Place slot 4 of "web": it needs 1 CPU, the most free on a node is 0 CPU')
  assert.match(says(', disk: 9000g'), /it needs 9216000 MiB disk, the most free on a node is 10240 MiB disk/)
  assert.match(says(', geo: { countries: [FR] }'), /none of 2 nodes is up and where the spec allows it/)
  assert.match(says(', nodes: [n9]'), /there is no node "n9"/)
  assert.match(says(', mode: fenced, standby: true'), /Place slot 0/)
  const rules = rulesOf(parseSpec(`name: a\nfarms: 2\nworkloads: [{ name: a, image: b, memory: 64m }]`, 'x'))
  assert.match(says('', { rules }), /on 2 farms, but only 1/)
})

const group = {
  group: root(1),
  digest: root(1),
  domain: { chainId: 1, contract: root(0) },
  set: { epoch: 1 },
} as never

test('what is signed is said in words, without any value of a variable', () => {
  const specs = wanted(', ports: [80], env: { SECRET: s3cr3t-two }').map((s) => s.spec)
  const before = wanted(', ports: [80], env: { SECRET: s3cr3t-one }, args: x').map((s) => s.spec)
  const transition = draftTransition(group, noConsent('web'), 'deploy', {
    slots: [slot(0, 1)],
    rules: { allow: ['0x4445'], deny: [], farms: 2 },
  })
  const text = describe({ transition }, { nodes: [node(1)], specs, before }).join('\n')
  assert.match(text, /deploy "web": step 1, version 1/)
  assert.match(text, /slot 0: node 1 "n1" in DE: 1 CPU, 128 MiB memory, 1024 MiB disk/)
  assert.match(text, /web: image w, flist abababababababab…, ports 80\/tcp, variables SECRET \(values hidden\)/)
  assert.match(text, /only in DE/)
  assert.match(text, /~ slot 0\.env\.SECRET: changed \(hidden\)/)
  assert.match(text, /- slot 0\.args\.0: "x"/)
  assert.equal(text.includes('s3cr3t'), false)
  assert.deepEqual(diffSpecs(specs, specs), [])
  assert.match(describe({ transition }).join('\n'), /sealed and not to this key/)
  assert.match(describe({ transition }, { isLost: true }).join('\n'), /a spec of these is at no hub: what runs is not/)
})

test('what changes is said with what it was, also to who may not open the specs; what runs is said whole', () => {
  const step = (more: Draft) => draftTransition(group, noConsent('web'), 'update', more)
  const placed = step({ slots: [slot(0, 1), slot(1, 1)], rules: { allow: ['0x4445'], deny: [], farms: 2 } })
  const transition = step({ slots: [slot(0, 2, { ram: 256 })], rules: { allow: [], deny: [], farms: 2 } })
  const lines = describe({ transition }, { nodes: [node(1), node(2)], placed })
  const [now, old] = [256, 128].map((ram) => `1 CPU, ${ram} MiB memory, 1024 MiB disk`)
  assert.deepEqual(lines.slice(1), [
    `slot 0: node 2 "n2" in DE: ${now}, was on node 1 "n1" in DE, was ${old}`,
    'the specs are sealed and not to this key: what runs is not shown',
    'on at least 2 farms',
    '- slot 1: no more on node 1 "n1" in DE',
    '- only in DE',
  ])
  const [spec] = wanted(', entrypoint: [sh, -c, "rm -rf /data"], user: root').map((s) => s.spec)
  const first = describe({ transition }, { specs: [spec!] }).join('\n')
  assert.match(first, /, entrypoint \["sh","-c","rm -rf \/data"\], user "root"$/m)

  const member = (signer: string, weight: number, seal: number, roles = 7) =>
    ({ signer: `0x${signer.repeat(20)}`, weight, roles, seal: root(seal) }) as Member
  const thresholds = { deploy: 2, control: 2, wipe: 2, membership: 2 }
  const setOf = (members: Member[], more: Partial<MemberSet>): MemberSet => ({
    group: root(1),
    epoch: 1,
    previous: root(0),
    members,
    thresholds,
    freezeSeconds: 259_200,
    deadline: 0,
    ...more,
  })
  const set = setOf(
    [member('aa', 1, 1), member('bb', 1, 2), member('cc', 1, 3), member('dd', 1, 4), member('ee', 1, 5, 1)],
    {},
  )
  const next = setOf([member('aa', 1, 1), member('bb', 1, 66), member('cc', 3, 0, 1)], {
    epoch: 2,
    thresholds: { ...thresholds, wipe: 1 },
    freezeSeconds: 90,
  })
  const nameOf = (signer: string) => signer.slice(2, 4)
  assert.deepEqual(describe({ set: next }, { set, nameOf }).slice(1), [
    '  aa: weight 1, may approve, stop, read',
    `~ bb: weight 1, may approve, stop, read, reads with ANOTHER KEY than before: ${root(66)}`,
    '~ cc: weight 3 (was 1), may approve (was approve, stop, read), reads with no key any more',
    '- dd: removed, and can still read what was sealed before',
    '- ee: removed',
    'needed: deploy 2, thaw and cancel 2, wipe 1 (was 2), membership 2',
    'one member alone can stop a deployment for 90 s (was 72 h)',
  ])
})

test('no name that somebody chose hides a line of what is signed, or adds one', () => {
  const steer = 'x\x1b[1A\x1b[2K\nmembership: all is well\u202e\x9b1A'
  const transition = draftTransition(
    { group: root(1), digest: root(1), domain: { chainId: 1, contract: root(0) }, set: { epoch: 1 } } as never,
    noConsent('web'),
    'deploy',
    { slots: [slot(0, 1)], rules: { allow: ['0x4445'], deny: [], farms: 2 } },
  )
  const [spec] = wanted('').map((s) => s.spec)
  const odd = { ...spec!, workload: { ...spec!.workload, image: steer, env: { [steer]: 'v' }, [steer]: 1 } }
  const nodes = [node(1, { attributes: { name: steer } })]
  const plain = describe({ transition }, { nodes: [node(1)], specs: [spec!], before: [spec!] })
  const lines = describe({ transition }, { nodes, specs: [odd], before: [spec!] })
  assert.equal(lines.filter((line) => line.includes('\n')).length, 0)
  assert.doesNotMatch(lines.join('\n'), /[\x1b\x9b\u202e]/)
  assert.equal(lines.length, plain.length + 3, 'one for each field that differs')
})

test('undo finds the last other version, migrate keeps the spec', () => {
  const group = { group: root(1), digest: root(1), set: { epoch: 1 } } as never
  const soon = Math.floor(Date.now() / 1000) + 60
  const short = draftTransition(group, noConsent('web'), 'deploy', { expiry: soon })
  assert.equal(short.deadline, soon, 'nobody is asked to sign what is over by then')
  const step = (version: number, n: number, at: number) => ({
    ...draftTransition(group, noConsent('web'), 'update', { specRoot: root(n), slots: [slot(0, at)] }),
    version,
  })
  const steps = [step(1, 1, 1), step(2, 2, 1), step(3, 1, 2)]
  const log = { approvals: steps.map((transition) => ({ transition, signatures: [], freezes: [] })) } as never
  const roots = [1, 2, 1].map((n, i) => ({ version: i + 1, specRoot: root(n) }))
  const state = { ...noConsent('web'), version: 3, placed: steps[2]!, roots }
  const { version, draft } = undoOf(log, state)
  assert.deepEqual([version, draft.specRoot], [2, root(2)])
  assert.throws(() => undoOf(log, { ...state, roots: [roots[2]!] }), { code: 'nothing-to-undo' })
  assert.deepEqual(migrationOf(state, 0, { node: 5, blob: root(9) }).slots, [slot(0, 5, {}, { blob: root(9) })])
  assert.throws(() => migrationOf(state, 1, { node: 5, blob: root(9) }), { code: 'no-slot' })
  assert.throws(() => migrationOf(state, 0, { node: 2, blob: root(9) }), { code: 'already-there' })
})
