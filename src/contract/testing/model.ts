// What the contract has to do, written a second time and from its description: the random walk of invariants.test.ts
// compares the two after every call.
import { countryHex, type Domain, deploymentId, digestOf, ZERO } from '../typed/digest.ts'
import type { Freeze, Kind, MemberSet, Resources, Rules, Slot, Transition } from '../typed/schema.ts'
import { PHASE, ROLE, STATE } from '../typed/schema.ts'

type Hex = `0x${string}`

export const LANES = ['cpu', 'ram', 'ssd'] as const
export type Place = { node: number; mode: number; booked: Resources; noticed?: number | undefined; reclaimed?: true }
export type Leaving = { node: number; booked: Resources; until: number }

export type ModelNode = { farm: number; country: string; up: boolean; capacity: Resources; used: Resources }
export type ModelDeployment = {
  group: Hex
  sequence: number
  version: number
  expiry: number
  frozenUntil: number
  state: number
  head: Hex
  specRoot: Hex
  froze: Set<string>
  slots: Map<number, Place>
  leaving: Map<number, Leaving>
}

export type Model = {
  domain: Domain
  nodes: Map<number, ModelNode>
  sets: Map<Hex, { set: MemberSet; digest: Hex }>
  deployments: Map<Hex, ModelDeployment>
  names: Map<string, Hex>
}

export class Refused extends Error {}
const must = (holds: boolean, why: string) => {
  if (!holds) throw new Refused(why)
}

export const keyOf = (s: Slot): number => s.index + (s.mode === 2 ? 128 : 0)
const NOTICE = 7 * 86400
export const FOREVER = 2 ** 40 - 1

export const deploymentOf = (m: Model, group: Hex, name: string): ModelDeployment =>
  m.deployments.get(deploymentId(group, name)) ?? {
    group,
    sequence: 0,
    version: 0,
    expiry: 0,
    frozenUntil: 0,
    state: STATE.none,
    head: ZERO,
    specRoot: ZERO,
    froze: new Set(),
    slots: new Map(),
    leaving: new Map(),
  }

const free = (m: Model, node: number, r: Resources) => {
  for (const l of LANES) m.nodes.get(node)!.used[l] -= r[l]
}
const reserve = (m: Model, node: number, r: Resources) => {
  const n = m.nodes.get(node)!
  for (const l of LANES) must(n.used[l] + r[l] <= n.capacity[l], 'capacity')
  for (const l of LANES) n.used[l] += r[l]
}
const leave = (m: Model, d: ModelDeployment, key: number) => {
  const l = d.leaving.get(key)!
  free(m, l.node, l.booked)
  d.leaving.delete(key)
}
const live = (p: Place | undefined): p is Place => p !== undefined && !p.reclaimed

/** All of WORK, or the model as it was and the reason. */
export function attempt(m: Model, work: (m: Model) => void): string | undefined {
  const copy = structuredClone({ ...m })
  try {
    work(copy)
  } catch (error) {
    if (error instanceof Refused) return error.message
    throw error
  }
  Object.assign(m, copy)
  return undefined
}

/** Members who sign well, in ascending order; `by` holds places in the set. */
function consent(set: MemberSet, by: number[], needed: number): void {
  for (const place of by) must(((set.members[place]?.roles ?? 0) & ROLE.approve) !== 0, 'no right')
  must(by.reduce((w, place) => w + set.members[place]!.weight, 0) >= needed, 'weight')
}

export function changeGroup(m: Model, next: MemberSet, current: MemberSet, by: number[], now: number): void {
  const group = current.group === ZERO ? digestOf(m.domain, 'MemberSet', current) : current.group
  const known = m.sets.get(group)
  must(known?.digest === digestOf(m.domain, 'MemberSet', current), 'stale')
  must(next.group === group && next.epoch === current.epoch + 1 && next.previous === known!.digest, 'successor')
  must(now <= next.deadline, 'late')
  const total = next.members.reduce((w, x) => w + (x.roles & ROLE.approve ? x.weight : 0), 0)
  for (const t of Object.values(next.thresholds)) must(t >= 1 && t <= total, 'I8')
  consent(current, by, current.thresholds.membership)
  m.sets.set(group, { set: next, digest: digestOf(m.domain, 'MemberSet', next) })
}

const classOf = (kind: Kind) => (kind === 'wipe' ? 'wipe' : /thaw|freeze|cancel/.test(kind) ? 'control' : 'deploy')

export function approve(m: Model, t: Transition, by: number[], now: number): void {
  const known = m.sets.get(t.group)
  must(known !== undefined && known.digest === t.set && known.set.epoch === t.epoch, 'stale')
  must(now <= t.deadline, 'late')
  consent(known!.set, by, known!.set.thresholds[classOf(t.kind)])
  const d = deploymentOf(m, t.group, t.name)
  must(t.sequence === d.sequence + 1 && t.previous === d.head, 'I4')
  const grows = ['deploy', 'update', 'undo'].includes(t.kind)
  must(t.version === d.version + (grows ? 1 : 0), 'I4')
  const active = d.state === STATE.active
  must(t.kind === 'deploy' ? !active : active || (t.kind === 'wipe' && d.state !== STATE.none), 'state')
  const id = deploymentId(t.group, t.name)
  if (grows || t.kind === 'migrate') {
    must(t.kind !== 'migrate' || t.specRoot === d.specRoot, 'a migration keeps the spec')
    place(m, d, t, now)
    for (const label of t.names) {
      const holder = m.names.get(label)
      must(!holder || holder === id || m.deployments.get(holder)?.state !== STATE.active, 'name')
      m.names.set(label, id)
    }
    Object.assign(d, { expiry: t.expiry, specRoot: t.specRoot, state: STATE.active })
    if (t.kind === 'deploy') d.frozenUntil = 0
  } else {
    must(t.slots.length + t.names.length === 0 && t.specRoot === ZERO, 'carries a spec')
    if (t.kind === 'thaw') d.frozenUntil = 0
    else if (t.kind === 'freeze') d.frozenUntil = FOREVER
    else end(m, d, t.kind === 'cancel' ? STATE.cancelled : STATE.wiped)
  }
  Object.assign(d, { sequence: t.sequence, version: t.version, head: digestOf(m.domain, 'Transition', t) })
  m.deployments.set(id, d)
}

/** Frees all that is placed and drops what is not placed again, then books anew. */
function place(m: Model, d: ModelDeployment, t: Transition, now: number): void {
  must(t.slots.length > 0 && (t.expiry === 0 || t.expiry > now), 'slots or expiry')
  const keys = t.slots.map(keyOf)
  for (const [n, key] of keys.entries()) must(n === 0 || key > keys[n - 1]!, 'order')
  for (const [key, p] of [...d.slots]) {
    if (live(p)) free(m, p.node, p.booked)
    if (!keys.includes(key)) drop(m, d, key)
  }
  for (const [n, s] of t.slots.entries()) put(m, d, keys[n]!, s, t, now)
  const farms = t.slots.filter((s) => s.mode !== 2).map((s) => m.nodes.get(s.node)!.farm)
  must(t.rules.farms <= 1 || new Set(farms).size >= t.rules.farms, 'farms')
}

function put(m: Model, d: ModelDeployment, key: number, s: Slot, t: Transition, now: number): void {
  const p = d.slots.get(key)
  let noticed = p?.noticed
  if (!live(p) || p.node !== s.node) {
    must(m.nodes.get(s.node)?.up ?? false, 'node')
    noticed = undefined
    if (live(p) && t.drain > 0) {
      must(!d.leaving.has(key), 'still draining')
      reserve(m, p.node, p.booked)
      d.leaving.set(key, { node: p.node, booked: p.booked, until: now + t.drain })
    }
  }
  must(allowed(t.rules, m.nodes.get(s.node)!.country), 'geo')
  reserve(m, s.node, s.resources)
  d.slots.set(key, { node: s.node, mode: s.mode, booked: s.resources, noticed })
}

const allowed = (r: Rules, country: string) =>
  (r.allow.length === 0 || r.allow.includes(countryHex(country))) && !r.deny.includes(countryHex(country))

function drop(m: Model, d: ModelDeployment, key: number): void {
  if (d.leaving.has(key)) leave(m, d, key)
  d.slots.delete(key)
}

function end(m: Model, d: ModelDeployment, state: number): void {
  for (const [key, p] of [...d.slots]) {
    if (live(p)) free(m, p.node, p.booked)
    drop(m, d, key)
  }
  d.state = state
}

export function freeze(m: Model, f: Freeze, member: number, now: number): void {
  const known = m.sets.get(f.group)
  must(known !== undefined && known.set.epoch === f.epoch, 'stale')
  const d = deploymentOf(m, f.group, f.name)
  must(d.state === STATE.active && f.sequence === d.sequence, 'state or step')
  must(f.until > now && f.until <= now + known!.set.freezeSeconds, 'time')
  must(((known!.set.members[member]?.roles ?? 0) & ROLE.stop) !== 0, 'no right')
  const used = `${known!.set.epoch}:${member}`
  must(!d.froze.has(used), 'once')
  d.froze.add(used)
  d.frozenUntil = Math.max(d.frozenUntil, f.until)
}

export function ack(m: Model, id: Hex, key: number, node: number, sequence: number, phase: number): void {
  const d = m.deployments.get(id)
  must(d?.sequence === sequence, 'sequence')
  const p = d!.slots.get(key)
  if (live(p) && p.node === node) {
    must(phase >= PHASE.running && phase <= PHASE.stopped, 'phase')
    if (phase === PHASE.running && d!.leaving.has(key)) leave(m, d!, key)
  } else {
    must(d!.leaving.get(key)?.node === node && phase === PHASE.stopped, 'not its slot')
    leave(m, d!, key)
  }
}

export function drained(m: Model, id: Hex, key: number, now: number): void {
  const d = m.deployments.get(id)
  const l = d?.leaving.get(key)
  must(l !== undefined && now >= l.until, 'early')
  leave(m, d!, key)
}

export function expire(m: Model, id: Hex, now: number): void {
  const d = m.deployments.get(id)
  must(d?.state === STATE.active && d.expiry !== 0 && now > d.expiry, 'early')
  end(m, d!, STATE.expired)
}

/** I9: an operator's notice, and what it may do when that is over. */
export function notice(m: Model, id: Hex, key: number, farm: number, now: number): void {
  const p = m.deployments.get(id)?.slots.get(key)
  must(live(p) && m.nodes.get(p.node)!.farm === farm && p.noticed === undefined, 'notice')
  p!.noticed = now + NOTICE
}

/** What a migration left behind can stay no longer either than an operator's notice. */
export function noticeLeft(m: Model, id: Hex, key: number, farm: number, now: number): void {
  const l = m.deployments.get(id)?.leaving.get(key)
  must(l !== undefined && m.nodes.get(l.node)!.farm === farm && l.until > now + NOTICE, 'notice')
  l!.until = now + NOTICE
}

export function reclaim(m: Model, id: Hex, key: number, farm: number, now: number): void {
  const p = m.deployments.get(id)?.slots.get(key)
  must(live(p) && m.nodes.get(p.node)!.farm === farm, 'owner')
  must(p!.noticed !== undefined && now >= p!.noticed, 'I9')
  free(m, p!.node, p!.booked)
  p!.reclaimed = true
}
