import { canonicalJson, plain } from '#codec'
import type { Node } from '../actions/nodes.ts'
import type { Subject } from '../actions/subject.ts'
import { type MemberSet, ROLE } from '../typed/schema.ts'
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
  for (const [n, s] of t.slots.entries()) {
    const node = known.nodes?.find((x) => x.id === s.node)
    const name = typeof node?.attributes.name === 'string' ? ` "${node.attributes.name}"` : ''
    const where = node ? `node ${s.node}${name} in ${node.country || 'an unnamed country'}` : `node ${s.node}`
    const mode = ['', ', fenced', ', standby'][s.mode]
    lines.push(`slot ${s.index}: ${where}: ${sayResources(s.resources)}${mode}`)
    const spec = known.specs?.[n]
    if (spec) lines.push(`  ${sayWorkload(spec, later)}`)
  }
  if (t.slots.length > 0 && !known.specs) {
    const why = known.isLost ? 'a spec of these is at no hub' : 'the specs are sealed and not to this key'
    lines.push(`${why}: what runs is not shown`)
  }
  lines.push(...sayRules(t.rules))
  if (t.names.length) lines.push(`public names: ${t.names.join(', ')}`)
  if (t.expiry) lines.push(`consent ends ${new Date(t.expiry * 1000).toISOString().slice(0, 16)} UTC`)
  if (known.specs && known.before) lines.push(...diffSpecs(known.before, known.specs))
  return lines
}

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
  return parts.join(', ')
}

function describeSet(next: MemberSet, { set, nameOf }: Known): string[] {
  const who = (signer: string) => nameOf?.(signer) ?? signer
  const lines = [`membership: epoch ${next.epoch}; every approval still open is void with it`]
  for (const m of next.members) {
    const rights = Object.entries(ROLE).filter(([, bit]) => m.roles & bit)
    const was = set?.members.find((x) => x.signer === m.signer)
    const change = !set || (was && canonicalJson(was) === canonicalJson(m)) ? ' ' : was ? '~' : '+'
    lines.push(`${change} ${who(m.signer)}: weight ${m.weight}, may ${rights.map(([name]) => name).join(', ')}`)
  }
  for (const m of set?.members ?? [])
    if (!next.members.some((x) => x.signer === m.signer)) lines.push(`- ${who(m.signer)}: removed`)
  const { deploy, control, wipe, membership } = next.thresholds
  lines.push(`needed: deploy ${deploy}, thaw and cancel ${control}, wipe ${wipe}, membership ${membership}`)
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
