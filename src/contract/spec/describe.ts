import { canonicalJson, plain } from '#codec'
import type { Node } from '../actions/nodes.ts'
import type { Subject } from '../actions/subject.ts'
import { type Member, type MemberSet, ROLE, type Slot, type Transition } from '../typed/schema.ts'
import type { SlotSpec } from './leaf.ts'
import { sayResources, sayRules } from './place.ts'

export type Known = {
  nodes?: Node[]
  /** The opened specs of the proposal's slots, in their order; absent when the reader may not open them. */
  specs?: SlotSpec[]
  /** One of them is at no hub: that is why they are absent. */
  isLost?: boolean
  /** Those of the version that runs now. */
  before?: SlotSpec[]
  /** The step that placed it as it is now. */
  placed?: Transition
  /** The member set that counts now. */
  set?: MemberSet
  /** Names of addresses, from the reader's own keys. */
  nameOf?: (address: string) => string | undefined
}

/**
 * What is about to be signed, in words, one line each. Values of variables and secrets are never shown. Names in it are those of
 * whoever proposes, or runs a node: none of them steers the terminal that it is read on.
 */
export function describe(subject: Subject, known: Known = {}): string[] {
  return ('set' in subject ? describeSet(subject.set, known) : describeTransition(subject, known)).map(plain)
}

function describeTransition({ transition: t }: Extract<Subject, { transition: unknown }>, known: Known): string[] {
  const until = new Date(t.deadline * 1000).toISOString().slice(0, 16)
  const lines = [`${t.kind} "${t.name}": step ${t.sequence}, version ${t.version}, to be signed until ${until} UTC`]
  const reserved = known.specs?.flatMap(({ network }) => network?.reserved?.of ?? []) ?? []
  const later = new Map(reserved.map(({ rule, address }) => [address, rule]))
  const old = t.slots.length > 0 ? known.placed : undefined
  for (const [n, s] of t.slots.entries()) {
    const had = old && sameSlot(old, s)
    const parts = [saySlot(s)]
    if (had && had.node !== s.node) parts.push(`was on ${sayNode(had, known)}`)
    if (had && saySlot(had) !== saySlot(s)) parts.push(`was ${saySlot(had)}`)
    lines.push(`slot ${s.index}: ${sayNode(s, known)}: ${parts.join(', ')}`)
    const spec = known.specs?.[n]
    if (spec) lines.push(`  ${sayWorkload(spec, later)}`)
  }
  if (t.slots.length > 0 && !known.specs) {
    const why = known.isLost ? 'a spec of these is at no hub' : 'the specs are sealed and not to this key'
    lines.push(`${why}: what runs is not shown`)
  }
  const terms = termsOf(t)
  lines.push(...terms)
  for (const s of old?.slots ?? [])
    if (!sameSlot(t, s))
      lines.push(`- slot ${s.index}${s.mode === 2 ? ' (standby)' : ''}: no more on ${sayNode(s, known)}`)
  if (old) lines.push(...termsOf(old).flatMap((line) => (terms.includes(line) ? [] : [`- ${line}`])))
  if (known.specs && known.before) lines.push(...diffSpecs(known.before, known.specs))
  return lines
}

const keyOf = ({ index, mode }: Slot) => (mode === 2 ? index + 128 : index)
const sameSlot = (t: Transition, s: Slot): Slot | undefined => t.slots.find((x) => keyOf(x) === keyOf(s))
const saySlot = (s: Slot): string => `${sayResources(s.resources)}${['', ', fenced', ', standby'][s.mode]}`

function sayNode({ node: id }: Slot, { nodes }: Known): string {
  const node = nodes?.find((n) => n.id === id)
  const name = typeof node?.attributes.name === 'string' ? ` "${node.attributes.name}"` : ''
  return node ? `node ${id}${name} in ${node.country || 'an unnamed country'}` : `node ${id}`
}

/** What holds for all of a deployment. */
const termsOf = ({ rules, names, expiry }: Transition): string[] => [
  ...sayRules(rules),
  ...(names.length ? [`public names: ${names.join(', ')}`] : []),
  ...(expiry ? [`consent ends ${new Date(expiry * 1000).toISOString().slice(0, 16)} UTC`] : []),
]

/** Whom beyond its own deployment a slot lets in and reaches, by the addresses that are signed: rules say names alone. */
function sayReach(network: SlotSpec['network'], later: ReadonlyMap<string, string>): string[] {
  if (!network) return []
  const own = new Set(network.members.map((m) => m.address))
  const say = (address: string) => {
    const rule = later.get(address)
    const text = address.match(/.{4}/g)!.join(':')
    return own.has(address) ? undefined : rule === undefined ? text : `${text} (${rule}, which does not run yet)`
  }
  const parts = (network.allow ?? []).map(({ from, people, ports }) => {
    const who = [...(people ? ["the group's people"] : []), ...from.map((a) => say(a) ?? 'its own deployment')]
    return `port ${ports.map((p) => `${p.port}/${p.protocol}`).join(' ')} only for ${[...new Set(who)].join(' ')}`
  })
  const others = network.others ?? []
  if (others.length)
    parts.push(
      `may reach ${others.map((o) => (later.has(o.address) ? say(o.address) : `${o.names[0]} (${say(o.address)})`)).join(' ')}`,
    )
  return parts
}

/** Said by name, by what is signed beside the spec, or of no effect on what runs. */
const SAID = new Set(
  'name image flist private memory cpus disk uplink ports env secrets allow reach egress names replicas mode standby nodes'.split(
    ' ',
  ),
)

/** What else a workload asks for, whatever its client's version: as it is written, and what is as always left out. */
const restOf = (w: SlotSpec['workload']): string[] =>
  Object.entries(w).flatMap(([key, value]) => {
    const text = JSON.stringify(value)
    const isUsual = text === undefined || text === '[]' || (key === 'restart' && value === 'unless-stopped')
    return SAID.has(key) || isUsual ? [] : [`${key} ${text}`]
  })

function sayWorkload({ workload: w, network }: SlotSpec, later: ReadonlyMap<string, string>): string {
  const text = (key: string) => (typeof w[key] === 'string' ? w[key] : undefined)
  const names = (key: string) => Object.keys((w[key] as Record<string, unknown> | undefined) ?? {})
  const parts = [`${text('name')}: image ${text('image')}`]
  if (text('flist')) parts.push(`flist ${text('flist')!.slice(0, 16)}…`)
  if (w.private === true) parts.push('its image only for the group and its nodes')
  const ports = (w.ports as { port: number; protocol: string }[] | undefined) ?? []
  if (ports.length) parts.push(`ports ${ports.map((p) => `${p.port}/${p.protocol}`).join(' ')}`)
  const hidden = [...names('env'), ...names('secrets')]
  if (hidden.length) parts.push(`variables ${hidden.join(' ')} (values hidden)`)
  parts.push(...sayReach(network, later))
  if (text('egress') === 'internet') parts.push('may reach the internet')
  return [...parts, ...restOf(w)].join(', ')
}

/** "72 h", "90 s". */
export const sayTime = (seconds: number): string =>
  seconds % 3600 === 0 ? `${seconds / 3600} h` : seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`

const was = <T>(now: T, before: T | undefined): string =>
  before === undefined || before === now ? `${now}` : `${now} (was ${before})`

const rightsOf = ({ roles }: Member): string =>
  Object.entries(ROLE)
    .flatMap(([name, bit]) => (roles & bit ? [name] : []))
    .join(', ')

function describeSet(next: MemberSet, { set, nameOf }: Known): string[] {
  const who = (signer: string) => nameOf?.(signer) ?? signer
  const lines = [`membership: epoch ${next.epoch}; every approval still open is void with it`]
  for (const m of next.members) {
    const old = set?.members.find((x) => x.signer === m.signer)
    const change = !set || (old && canonicalJson(old) === canonicalJson(m)) ? ' ' : old ? '~' : '+'
    // whoever has the key reads what is sealed to this member
    const key = BigInt(m.seal) === 0n ? 'with no key any more' : `with ANOTHER KEY than before: ${m.seal}`
    const seal = old && old.seal !== m.seal ? `, reads ${key}` : ''
    const rights = was(rightsOf(m), old && rightsOf(old))
    lines.push(`${change} ${who(m.signer)}: weight ${was(m.weight, old?.weight)}, may ${rights}${seal}`)
  }
  for (const m of set?.members ?? [])
    if (!next.members.some((x) => x.signer === m.signer))
      lines.push(
        `- ${who(m.signer)}: removed${m.roles & ROLE.read ? ', and can still read what was sealed before' : ''}`,
      )
  const { deploy, control, wipe, membership } = next.thresholds
  const old = set?.thresholds
  lines.push(
    `needed: deploy ${was(deploy, old?.deploy)}, thaw and cancel ${was(control, old?.control)}, wipe ${was(wipe, old?.wipe)}, membership ${was(membership, old?.membership)}`,
    `one member alone can stop a deployment for ${was(sayTime(next.freezeSeconds), set && sayTime(set.freezeSeconds))}`,
  )
  return lines
}

/** What differs, field by field: "+" new, "-" gone, "~" changed. */
export function diffSpecs(before: SlotSpec[], after: SlotSpec[]): string[] {
  const [was, is] = [flat(before), flat(after)]
  const lines: string[] = []
  for (const key of [...new Set([...was.keys(), ...is.keys()])].sort()) {
    const [a, b] = [was.get(key), is.get(key)]
    if (a === b) continue
    const secret = /\.(env|secrets)\./.test(key)
    const show = (v: string) => (secret ? '(hidden)' : v)
    if (a === undefined) lines.push(`+ ${key}: ${show(b!)}`)
    else if (b === undefined) lines.push(`- ${key}: ${show(a)}`)
    else lines.push(secret ? `~ ${key}: changed (hidden)` : `~ ${key}: ${a} → ${b}`)
  }
  return lines
}

/** Each leaf of the workloads as "slot 0.memory" → its JSON. */
function flat(specs: SlotSpec[]): Map<string, string> {
  const all = new Map<string, string>()
  const walk = (at: string, value: unknown) => {
    if (value !== null && typeof value === 'object') for (const [k, v] of Object.entries(value)) walk(`${at}.${k}`, v)
    else if (value !== undefined) all.set(at, JSON.stringify(value))
  }
  for (const s of specs) walk(`slot ${s.slot}`, s.workload)
  return all
}
