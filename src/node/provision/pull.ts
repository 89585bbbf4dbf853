import { codeOf, reasonOf } from '#codec'
import {
  type ConsentState,
  deploymentId,
  type Grid,
  type GroupState,
  noConsent,
  poll,
  proveDeployment,
  readConsent,
  type Transition,
} from '#contract'
import { advance } from './advance.ts'
import type { Pinned, Watched } from './pinned.ts'

type Hex = `0x${string}`

const fresh = (group: Hex, name: string): Watched => ({
  group,
  name,
  consent: noConsent(name),
  taken: 0,
  held: '',
  said: {},
  released: [],
  dirty: true,
})

/** Events are hints alone: they say what to look at. */
function note(pinned: Pinned, me: number, event: { name: string; args: Record<string, unknown> }): void {
  const { name, args } = event
  if (name === 'Approved') {
    const t = args.transition as Transition
    const id = deploymentId(t.group, t.name)
    if (!pinned.deployments[id] && t.slots.some((s) => s.node === me)) pinned.deployments[id] = fresh(t.group, t.name)
  }
  const watched = name === 'GroupSet' ? undefined : pinned.deployments[args.id as Hex]
  if (watched && ['Approved', 'Frozen', 'Ended', 'Released'].includes(name)) watched.dirty = true
  if (watched && args.node === me) {
    const key = args.key as number
    const others = watched.released.filter((k) => k !== key)
    if (name === 'Placed') watched.released = others
    if (name === 'Released') watched.released = [...others, key]
  }
  if (name === 'GroupSet') for (const d of Object.values(pinned.deployments)) if (d.group === args.group) d.dirty = true
}

/** What signatures show must also be what the state of a final block holds, by proof: nothing newer was kept from us. */
async function checkState(grid: Grid, pinned: Pinned, d: Watched, group: GroupState, consent: ConsentState) {
  const proven = await proveDeployment(grid, d.group, d.name)
  pinned.codeHash ??= proven.codeHash
  if (proven.codeHash !== pinned.codeHash) throw new Error("the contract's code is not the one seen first")
  if (proven.set !== group.digest || proven.head !== consent.head || proven.sequence !== consent.sequence)
    throw new Error(
      `the approvals told end at step ${consent.sequence}, the proven state is at step ${proven.sequence}`,
    )
}

/** Looks at one deployment and takes up what is new and agreed on; what is not is held, with its reason. */
async function look(grid: Grid, pinned: Pinned, d: Watched): Promise<void> {
  const { log } = await readConsent(grid, d.group, d.name)
  if (!log) throw new Error('the chain shows no approvals')
  const at = { domain: grid.domain, groupId: d.group, name: d.name, pinned: pinned.groups[d.group] }
  const { group, consent } = advance(at, d.consent.sequence === 0 ? undefined : d.consent, log)
  await checkState(grid, pinned, d, group, consent)
  if (consent.sequence !== d.consent.sequence) d.taken = Date.now()
  d.consent = consent
  d.held = ''
  d.dirty = false
  // later, when every deployment of this pass has been judged by the sets known before it
  newest.set(d.group, group)
}

const newest = new Map<Hex, Pinned['groups'][Hex]>()

/** One look at the chain. True when something was learnt; a chain that went back or is away throws, and nothing is taken. */
export async function pull(grid: Grid, pinned: Pinned, me: number, log: (line: string) => void): Promise<boolean> {
  const batch = await poll(grid, pinned.cursor ?? undefined)
  for (const e of batch.events) note(pinned, me, e)
  let changed = batch.events.length > 0 || batch.cursor.hash !== pinned.cursor?.hash
  pinned.cursor = batch.cursor
  newest.clear()
  for (const d of Object.values(pinned.deployments)) {
    if (!d.dirty) continue
    try {
      await look(grid, pinned, d)
      log(`${d.name}: step ${d.consent.sequence}, version ${d.consent.version}, ${d.consent.status}`)
    } catch (error) {
      if (codeOf(error).startsWith('rpc-')) throw error
      const why = reasonOf(error)
      if (why !== d.held) log(`${d.name}: held: ${why}`)
      d.held = why
    }
    changed = true
  }
  for (const [id, group] of newest) pinned.groups[id] = group
  return changed
}
