import { codeOf, reasonOf, ZosError } from '#codec'
import {
  type ConsentState,
  deploymentId,
  type Grid,
  type GroupState,
  type Proven,
  poll,
  proveDeployment,
  readConsent,
  takenBackBy,
} from '#contract'
import { advance } from './advance.ts'
import { keyOfSlot } from './desired.ts'
import { lookAtAll, note } from './hints.ts'
import type { Pinned, Watched } from './pinned.ts'

type Hex = `0x${string}`

/** This node: its number, the code of the contract it is for, and whose farm it is of. */
export type Self = { id: number; codeHash: Hex; owner: Hex }

/** A reason to hold a step that is not a fault in the consent itself: the next look may find it proven. */
const unproven = (code: string, reason: string) =>
  new ZosError(`Take up the chain's word: ${reason}`, { code, kind: 'node' })

/** Compares what the signatures show with the proven state of a final block: so nothing newer was kept from us. */
async function checkState(grid: Grid, node: Self, d: Watched, group: GroupState, consent: ConsentState) {
  const proven = await proveDeployment(grid, d.group, d.name, keysHere(consent, node.id))
  if (proven.codeHash !== node.codeHash)
    throw unproven('other-code', "the contract's code is not the one this node is for")
  if (proven.set !== group.digest || proven.head !== consent.head || proven.sequence !== consent.sequence)
    throw unproven(
      'kept-back',
      `the approvals told end at step ${consent.sequence}, the proven state is at step ${proven.sequence}`,
    )
  // a stop that was kept from us, or one that never was
  if (consent.status === 'active' && proven.state === 'active' && !sameStop(proven.frozenUntil, consent.frozenUntil))
    throw unproven('kept-back', 'the freezes told are not those of the proven state')
  return proven
}

/** The contract keeps 40 bits of time: a stop by quorum lasts until their end there. */
const FOREVER = 2 ** 40 - 1
const sameStop = (proven: number, told: number): boolean => proven === Math.min(told, FOREVER)

/** The keys of the slots that CONSENT places on node ME. */
const keysHere = ({ status, placed }: ConsentState, me: number): number[] =>
  status === 'active' ? placed!.slots.filter((s) => s.node === me).map(keyOfSlot) : []

/**
 * Notes which slots here the farmer took back: the proven state has their booking no more, and the farmer signed for it. The
 * chain's word alone would let whoever forges a state end what runs. Gives why a slot is held all the same, or ''.
 */
async function noteBack(grid: Grid, node: Self, d: Watched, bookings: Proven['bookings']): Promise<string> {
  const step = d.consent.placed!.sequence
  let held = ''
  for (const [key, at] of bookings) {
    if (at === node.id || d.back?.[key]?.step === step) continue
    const by = await takenBackBy(grid, deploymentId(d.group, d.name), node.id, key)
    if (by === node.owner) d.back = { ...d.back, [key]: { step, since: Date.now() } }
    else held = `slot ${key} is booked here no more, and the farmer's signature for that was not found: it runs on`
  }
  return held
}

/** Looks at one deployment and takes up what is new and agreed on. Gives its group as of then. */
async function look(grid: Grid, node: Self, pinned: Pinned, d: Watched): Promise<GroupState> {
  const { log, evidence } = await readConsent(grid, d.group, d.name)
  if (!log) throw unproven('kept-back', 'the chain shows no approvals')
  const at = { domain: grid.domain, groupId: d.group, name: d.name, pinned: pinned.groups[d.group] }
  const { group, consent } = advance(at, d.consent.sequence === 0 ? undefined : d.consent, log, evidence)
  const proven = await checkState(grid, node, d, group, consent)
  if (consent.sequence !== d.consent.sequence) d.taken = Date.now()
  d.consent = consent
  d.held = ''
  d.dirty = false
  if (proven.state === 'active') d.held = await noteBack(grid, node, d, proven.bookings)
  return group
}

/**
 * One look at the chain; WHOLE: at everything, not at what events hint at. Changes PINNED; true when something was
 * learnt. A chain that went back or is away throws, and nothing is taken.
 */
export async function pull(
  grid: Grid,
  pinned: Pinned,
  node: Self,
  options: { whole: boolean; log: (line: string) => void },
): Promise<boolean> {
  const { log } = options
  const batch = await poll(grid, pinned.cursor ?? undefined)
  for (const e of batch.events) note(pinned, node.id, e)
  if (options.whole) await lookAtAll(grid, pinned, node.id)
  let changed = batch.events.length > 0
  pinned.cursor = batch.cursor
  const newest = new Map<Hex, GroupState>()
  const unsure = new Set<Hex>()
  for (const d of Object.values(pinned.deployments)) {
    if (!d.dirty) continue
    const { held, back } = d
    const { sequence, frozenUntil } = d.consent
    try {
      newest.set(d.group, await look(grid, node, pinned, d))
      changed = true
      const { consent } = d
      if (consent.sequence !== sequence || consent.frozenUntil !== frozenUntil)
        log(`${d.name}: step ${consent.sequence}, version ${consent.version}, ${consent.status}`)
      if (d.held !== '' && d.held !== held) log(`${d.name}: held: ${d.held}`)
      for (const [key, { step }] of Object.entries(d.back ?? {}))
        if (back?.[Number(key)]?.step !== step) log(`${d.name}/${key}: the farmer took it back`)
    } catch (error) {
      if (codeOf(error).startsWith('rpc-')) throw error
      const why = reasonOf(error)
      if (why !== d.held) {
        log(`${d.name}: held: ${why}`)
        d.held = why
        changed = true
      }
      unsure.add(d.group)
    }
  }
  // Behind all of them: a step taken before a change of members is judged by the set known before that change. As long
  // as one of the group's deployments could not be read, it may still hold such a step.
  for (const [id, group] of newest) if (!unsure.has(id)) pinned.groups[id] = group
  return changed
}
