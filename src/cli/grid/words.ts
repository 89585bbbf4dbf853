import { type Key, openSealed, type Proposal, type Transition } from '#contract'
import { type Context, getSpec, type PlacedNode } from './context.ts'

/** A slot's spec as lines by field; values of variables never leave it, whether they differ does. */
type Fields = Map<string, { shown: string; value: string }>

function fieldsOf(workload: Record<string, unknown>): Fields {
  const fields: Fields = new Map()
  for (const [name, value] of Object.entries(workload)) {
    if (name === 'env' || name === 'secrets') {
      for (const [variable, secret] of Object.entries((value ?? {}) as Record<string, string>))
        fields.set(`${name} ${variable}`, { shown: '(value not shown)', value: secret })
    } else if (value !== undefined && !(Array.isArray(value) && value.length === 0)) {
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      fields.set(name, { shown: text, value: text })
    }
  }
  return fields
}

/** What changes between two specs: + added, - gone, ~ changed. */
function diffLines(before: Fields, after: Fields): string[] {
  const lines: string[] = []
  for (const [name, { shown, value }] of after) {
    const old = before.get(name)
    if (!old) lines.push(`+ ${name}: ${shown}`)
    else if (old.value !== value)
      lines.push(shown === old.shown ? `~ ${name}: changed ${shown}` : `~ ${name}: ${old.shown} → ${shown}`)
  }
  for (const [name, { shown }] of before) if (!after.has(name)) lines.push(`- ${name}: ${shown}`)
  return lines
}

/** The spec of slot PLACE of T as this member can read it, checked against what was signed; else why not. */
async function readSlot(context: Context, key: Key, t: Transition, place: number): Promise<Fields | string> {
  const { blob } = t.slots[place]!
  const bytes = await getSpec(context, blob)
  if (!bytes) return 'its sealed spec is not at the hub: you would sign what you cannot read'
  try {
    const expected = { blob, specRoot: t.specRoot, index: place, count: t.slots.length }
    const { spec } = await openSealed(bytes, key.sealSecret, expected)
    return fieldsOf(spec.workload)
  } catch (error) {
    return (error as Error).message
  }
}

/** In words what an approval would do: the step, each slot's place, and what of its spec changes. */
export async function describe(
  context: Context,
  key: Key,
  p: Proposal,
  before: Transition | null,
  nodes: PlacedNode[],
): Promise<string> {
  if ('set' in p.subject) {
    const { members, thresholds, epoch } = p.subject.set
    const who = members.map((m) => `  ${m.signer}, weight ${m.weight}\n`).join('')
    return `change the members to epoch ${epoch} (thresholds ${JSON.stringify(thresholds)}):\n${who}`
  }
  const t = p.subject.transition
  const nodeOf = (id: number) => {
    const n = nodes.find((x) => x.id === id)
    return n ? `${n.name} (${n.farmName}, ${n.country})` : `node ${id}`
  }
  const lines = [
    `${t.kind} "${t.name}": step ${t.sequence}, version ${t.version}; ${p.approvals} of ${p.needs} approvals so far`,
  ]
  if (t.kind === 'cancel')
    lines.push('  its processes end and its places are freed; data stays on the nodes until wiped')
  if (t.kind === 'wipe') lines.push('  its data on the nodes is deleted for good')
  if (t.kind === 'thaw') lines.push('  it runs again as it was')
  for (const [place, slot] of t.slots.entries()) {
    const { cpu, ram, ssd } = slot.resources
    const was = before?.slots.findIndex((s) => s.index === slot.index && s.mode === slot.mode) ?? -1
    const old = was >= 0 ? before!.slots[was]! : undefined
    const from = old && old.node !== slot.node ? `, now on ${nodeOf(old.node)}` : ''
    lines.push(
      `  ${t.name}/${slot.index} on ${nodeOf(slot.node)}${from}: ${ram} MiB memory, ${cpu / 1000} CPU, ${ssd} MiB disk`,
    )
    const after = await readSlot(context, key, t, place)
    if (typeof after === 'string') {
      lines.push(`    (${after})`)
      continue
    }
    const earlier = old ? await readSlot(context, key, before!, was) : new Map()
    const changes = diffLines(typeof earlier === 'string' ? new Map() : earlier, after)
    lines.push(...(changes.length > 0 ? changes : ['nothing changes in its spec']).map((l) => `    ${l}`))
  }
  for (const gone of before && t.slots.length > 0
    ? before.slots.filter((s) => !t.slots.some((n) => n.index === s.index))
    : [])
    lines.push(`  - ${t.name}/${gone.index} on ${nodeOf(gone.node)} ends`)
  if (t.expiry !== 0) lines.push(`  until ${new Date(t.expiry * 1000).toISOString()}`)
  return `${lines.join('\n')}\n`
}
