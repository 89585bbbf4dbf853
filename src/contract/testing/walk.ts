// The steps of the random walk over the contract (../invariants.test.ts): each calls contract and model.
import assert from 'node:assert/strict'
import { consentArgs, freezeArgs } from '../actions/consent.ts'
import { draftMembership, draftTransition } from '../actions/index.ts'
import { countryHex, type Domain, deploymentId, digestOf, ZERO } from '../typed/digest.ts'
import { type Ack, KINDS, type MemberSet, ROLE, type Signature, type Slot, type Transition } from '../typed/schema.ts'
import { type Call, compareDeployment, compareNodes } from './compare.ts'
import * as model from './model.ts'
import { key, root, slot, type World } from './world.ts'

type Hex = `0x${string}`

export const people = ['ann', 'ben', 'cat', 'dan', 'eve', 'fay'].map(key)
export const owners = ['owner1', 'owner2'].map(key)

export type Walk = {
  w: World
  m: model.Model
  random: (n: number) => number
  now: () => number
  forward: (seconds: number) => void
  call: Call
}

const pick = <T>(walk: Walk, list: readonly T[]): T => list[walk.random(list.length)]!

const signatures = (set: MemberSet, digest: Hex, by: number[]): Signature[] =>
  by.map((member) => {
    const signer = set.members[member]?.signer
    return { member, signature: (people.find((k) => k.address === signer) ?? people[0]!).sign(digest) }
  })

/** Some members, usually enough of them, in order. */
function some(walk: Walk, set: MemberSet): number[] {
  const few = walk.random(4) === 0
  return [...set.members.keys()].filter((i) =>
    few ? walk.random(3) === 0 : (set.members[i]!.roles & ROLE.approve) !== 0 || walk.random(40) === 0,
  )
}

export function terms(walk: Walk) {
  const members = people
    .filter(() => walk.random(3) > 0)
    .map((k) => ({
      address: k.address,
      weight: 1 + walk.random(3),
      roles: [ROLE.approve | ROLE.stop | ROLE.read, ROLE.approve, ROLE.stop | ROLE.approve, ROLE.stop][walk.random(4)]!,
    }))
  const all = members.length > 0 ? members : [{ address: people[0]!.address, weight: 1, roles: 7 }]
  const n = () => 1 + walk.random(4)
  return { members: all, threshold: { deploy: n(), control: n(), wipe: n(), membership: n() }, freezeSeconds: 3600 }
}

function slots(walk: Walk): Slot[] {
  const node = () => (walk.random(30) === 0 ? 99 : 1 + walk.random(walk.m.nodes.size))
  const some = () => ({ cpu: 100 * walk.random(10), ram: 32 * walk.random(9), ssd: walk.random(1000) })
  const all: Slot[] = []
  for (let i = 0; i < 3; i++) if (walk.random(3) > 0) all.push(slot(i, node(), some(), { mode: walk.random(2) }))
  for (let i = 0; i < 2; i++) if (walk.random(4) === 0) all.push(slot(i, node(), some(), { mode: 2 }))
  return walk.random(25) === 0 ? all.reverse() : all
}

/** One step of a deployment; mostly a good one, else with one thing wrong. */
export async function step(walk: Walk): Promise<void> {
  const { m, w } = walk
  const group = pick(walk, [...m.sets.keys()])
  const { set, digest } = m.sets.get(group)!
  const name = pick(walk, ['p', 'q'])
  const d = model.deploymentOf(m, group, name)
  const active = d.state === 1
  const kinds = active
    ? (['update', 'update', 'undo', 'migrate', 'migrate', ...KINDS] as const)
    : (['deploy', 'deploy', 'deploy', 'wipe', 'thaw'] as const)
  const kind = pick(walk, kinds)
  const spec = ['deploy', 'update', 'undo', 'migrate'].includes(kind)
  const now = walk.now()
  const placed = [...d.slots].sort(([a], [b]) => a - b)
  const moved = placed.map(([k, p]) =>
    slot(k % 128, walk.random(2) ? p.node : 1 + walk.random(m.nodes.size), p.booked, { mode: k >= 128 ? 2 : p.mode }),
  )
  const base = draftTransition(
    { domain: m.domain, group, digest, set },
    { name, sequence: d.sequence, version: d.version, head: d.head } as never,
    kind,
    spec
      ? {
          specRoot: kind === 'migrate' && walk.random(10) ? d.specRoot : root(1 + walk.random(1000)),
          slots: kind === 'migrate' ? moved : slots(walk),
          rules: {
            allow: walk.random(10) ? [] : [countryHex('DE')],
            deny: walk.random(10) ? [] : [countryHex('FR')],
            farms: walk.random(8) ? 0 : 2,
          },
          names: walk.random(5) ? [] : [pick(walk, ['x', 'y'])],
          expiry: walk.random(6) ? 0 : now + walk.random(5000) - 100,
          drain: walk.random(3) * (walk.random(6) ? 900 : 6 * 86400),
          deadline: now + 1000,
        }
      : { deadline: now + 1000 },
  )
  const wrong: Partial<Transition>[] = [
    { sequence: base.sequence + 1 },
    { sequence: Math.max(0, base.sequence - 1), previous: ZERO },
    { version: base.version + 1 },
    { previous: root(5) },
    { set: root(6) },
    { epoch: base.epoch + 1 },
    { deadline: now - 1 },
    { names: ['z'] },
  ]
  const t = { ...base, ...(walk.random(8) === 0 ? pick(walk, wrong) : {}) }
  const by = some(walk, set)
  // a signature for another chain, or over something else, is no signature: the model then hears of nobody
  const domain: Domain = walk.random(20) ? m.domain : { ...m.domain, chainId: 1 }
  const sigs = signatures(set, digestOf(domain, 'Transition', t), by)
  const said = await walk.call('approve', [t, ...consentArgs(sigs)])
  const expected = model.attempt(m, (x) => {
    if (domain !== m.domain && by.length > 0) throw new model.Refused('signatures of another chain')
    model.approve(x, t, by, now)
  })
  if (!same(walk, `${kind} ${name}`, said, expected)) return
  // I7: what was taken once is not taken again
  assert.ok(await walk.call('approve', [t, ...consentArgs(sigs)]), 'I7: a step was taken twice')
  await compareDeployment(w, m, deploymentId(group, name))
  await compareNodes(w, m)
}

export async function stop(walk: Walk): Promise<void> {
  const { m } = walk
  const group = pick(walk, [...m.sets.keys()])
  const { set } = m.sets.get(group)!
  const name = pick(walk, ['p', 'q'])
  const d = model.deploymentOf(m, group, name)
  const before = JSON.stringify([...d.slots])
  const member = walk.random(set.members.length)
  const until = walk.now() + (walk.random(8) ? 1 + walk.random(3600) : 3601)
  const mostly = (n: number) => n + (walk.random(12) ? 0 : 1)
  const f = { group, epoch: mostly(set.epoch), name, sequence: mostly(d.sequence), until }
  const [signature] = signatures(set, digestOf(m.domain, 'Freeze', f), [member])
  const said = await walk.call('freeze', freezeArgs(f, signature!))
  const expected = model.attempt(m, (x) => model.freeze(x, f, member, walk.now()))
  same(walk, 'freeze', said, expected)
  await compareDeployment(walk.w, m, deploymentId(group, name))
  assert.equal(JSON.stringify([...model.deploymentOf(m, group, name).slots]), before, 'I5: a freeze frees nothing')
}

export async function members(walk: Walk): Promise<void> {
  const { m } = walk
  const group = pick(walk, [...m.sets.keys()])
  const { set, digest } = m.sets.get(group)!
  const deadline = walk.now() + (walk.random(10) ? 500 : -1)
  const next = { ...draftMembership({ domain: m.domain, group, digest, set }, terms(walk), deadline) }
  if (walk.random(10) === 0) next.epoch++
  const by = some(walk, set)
  const sigs = signatures(set, digestOf(m.domain, 'MemberSet', next), by)
  const said = await walk.call('setGroup', [next, ...consentArgs(sigs)])
  same(
    walk,
    'members',
    said,
    model.attempt(m, (x) => model.changeGroup(x, next, set, by, walk.now())),
  )
}

/** What nodes, operators and bystanders may do to a slot. */
export async function slotCalls(walk: Walk): Promise<void> {
  const { m, w } = walk
  const [id, d] = pick(walk, [...m.deployments])
  const known = [...d.slots.keys(), ...d.leaving.keys()]
  const at = known.length > 0 && walk.random(8) ? pick(walk, known) : walk.random(4)
  const now = walk.now()
  const what = walk.random(12)
  let taken = false
  if (what < 5) {
    const leaving = d.leaving.get(at)?.node
    const mine = d.slots.get(at)?.node ?? 1
    const node = walk.random(8) === 0 ? 1 : leaving && walk.random(2) ? leaving : mine
    const sequence = d.sequence + (walk.random(10) ? 0 : 1)
    const ack: Ack = { deployment: id, slot: at, node, sequence, phase: 1 + walk.random(5), time: now, report: '0x' }
    const signer = walk.random(12) ? key(`node${node}`) : people[0]!
    const said = await walk.call('ack', [ack, signer.sign(digestOf(m.domain, 'Ack', ack))])
    const expected = model.attempt(m, (x) => {
      if (signer === people[0]) throw new model.Refused('not the node')
      model.ack(x, id, at, node, sequence, ack.phase)
    })
    taken = same(walk, 'ack', said, expected)
  } else if (what === 5) {
    const said = await walk.call('reclaim', [id, at + 256])
    const expected = model.attempt(m, (x) => model.drained(x, id, at, now))
    same(walk, 'drained', said, expected)
  } else if (what === 6) {
    same(
      walk,
      'expire',
      await walk.call('expire', [id]),
      model.attempt(m, (x) => model.expire(x, id, now)),
    )
  } else if (what === 7) {
    const farm = m.nodes.get(d.leaving.get(at)?.node ?? 1)!.farm
    const by = walk.random(8) ? farm : 3 - farm
    const said = await walk.call('notice', [id, at + 256], owners[by - 1])
    const expected = model.attempt(m, (x) => model.noticeLeft(x, id, at, by, now))
    taken = same(walk, 'notice-left', said, expected)
  } else {
    const verb = what < 11 ? 'notice' : 'reclaim'
    const farm = walk.random(3) ? (m.nodes.get(d.slots.get(at)?.node ?? 0)?.farm ?? 1) : 1 + walk.random(2)
    const said = await walk.call(verb, [id, at], owners[farm - 1])
    same(
      walk,
      verb,
      said,
      model.attempt(m, (x) => (verb === 'notice' ? model.notice : model.reclaim)(x, id, at, farm, now)),
    )
  }
  if (!taken) return
  await compareDeployment(w, m, id)
  await compareNodes(w, m)
}

/** Goes to the second before something is due, to that second and to the next, and asks for it at each until it is taken. */
export async function dueCalls(walk: Walk): Promise<void> {
  const { m, w } = walk
  const { call, now } = walk
  const ends = [...m.deployments]
    .filter(([, d]) => d.state === 1 && d.expiry !== 0)
    .map(([id, d]) => ({
      id,
      at: d.expiry,
      run: async () =>
        same(
          walk,
          'expire',
          await call('expire', [id]),
          model.attempt(m, (x) => model.expire(x, id, now())),
        ),
    }))
  const leaves = [...m.deployments].flatMap(([id, d]) =>
    [...d.leaving].map(([k, l]) => ({
      id,
      at: l.until,
      run: async () =>
        same(
          walk,
          'drained',
          await call('reclaim', [id, k + 256]),
          model.attempt(m, (x) => model.drained(x, id, k, now())),
        ),
    })),
  )
  const notices = [...m.deployments].flatMap(([id, d]) =>
    [...d.slots].flatMap(([k, { noticed: at, node }]) => {
      if (at === undefined) return []
      const { farm } = m.nodes.get(node)!
      const expected = () => model.attempt(m, (x) => model.reclaim(x, id, k, farm, now()))
      const run = async () => same(walk, 'reclaim', await call('reclaim', [id, k], owners[farm - 1]), expected())
      return [{ id, at, run }]
    }),
  )
  // of each kind as often as of the others, however many there are
  const ahead = [ends, leaves, notices].map((due) => due.filter((x) => x.at - 1 >= walk.now()))
  const some = ahead.filter((due) => due.length > 0)
  if (some.length === 0) return
  const { at, run, id } = pick(walk, pick(walk, some))
  for (const second of [at - 1, at, at + 1]) {
    walk.forward(second - walk.now())
    if (!(await run())) continue
    await compareDeployment(w, m, id)
    await compareNodes(w, m)
    return
  }
}

export async function nodeCalls(walk: Walk): Promise<void> {
  const { m } = walk
  const id = 1 + walk.random(m.nodes.size)
  const n = m.nodes.get(id)!
  const state = walk.random(8) ? 1 : 2
  const by = walk.random(8) ? n.farm : 3 - n.farm
  const said = await walk.call('setNodeState', [id, state], owners[by - 1])
  const expected = model.attempt(m, (x) => {
    if (by !== n.farm) throw new model.Refused('not the owner')
    x.nodes.get(id)!.up = state === 1
  })
  same(walk, 'state', said, expected)
}

/** How often each kind of call was taken, and how often refused. */
export const tally = new Map<string, { taken: number; refused: number }>()
function same(walk: Walk, what: string, said: string | undefined, expected: string | undefined): boolean {
  const kind = what.split(' ')[0]!
  const seen = tally.get(kind) ?? { taken: 0, refused: 0 }
  seen[said === undefined ? 'taken' : 'refused']++
  tally.set(kind, seen)
  assert.equal(
    said === undefined,
    expected === undefined,
    `${what} at ${walk.now()}: contract ${said}, model ${expected}`,
  )
  return said === undefined
}
