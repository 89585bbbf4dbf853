import { codeOf, reasonOf, ZosError } from '#codec'
import { type ConsentState, type Grid, type GroupState, poll, proveDeployment, readConsent } from '#contract'
import { advance } from './advance.ts'
import { lookAtAll, note } from './hints.ts'
import type { Pinned, Watched } from './pinned.ts'

type Hex = `0x${string}`

/** Held, and not because it is no consent: the next look may find it whole. */
const unproven = (code: string, reason: string) =>
  new ZosError(`Take up the chain's word: ${reason}`, { code, kind: 'node' })

/** What signatures show must also be what the state of a final block holds, by proof: nothing newer was kept from us. */
async function checkState(grid: Grid, codeHash: Hex, d: Watched, group: GroupState, consent: ConsentState) {
  const proven = await proveDeployment(grid, d.group, d.name)
  if (proven.codeHash !== codeHash) throw unproven('other-code', "the contract's code is not the one this node is for")
  if (proven.set !== group.digest || proven.head !== consent.head || proven.sequence !== consent.sequence)
    throw unproven(
      'kept-back',
      `the approvals told end at step ${consent.sequence}, the proven state is at step ${proven.sequence}`,
    )
  // a stop that was kept from us, or one that never was
  if (consent.status === 'active' && proven.state === 'active' && !sameStop(proven.frozenUntil, consent.frozenUntil))
    throw unproven('kept-back', 'the freezes told are not those of the proven state')
}

/** The contract keeps 40 bits of time: a stop by quorum lasts until their end there. */
const FOREVER = 2 ** 40 - 1
const sameStop = (proven: number, told: number): boolean => proven === Math.min(told, FOREVER)

/** Looks at one deployment and takes up what is new and agreed on. Gives its group as of then. */
async function look(grid: Grid, codeHash: Hex, pinned: Pinned, d: Watched): Promise<GroupState> {
  const { log, evidence } = await readConsent(grid, d.group, d.name)
  if (!log) throw unproven('kept-back', 'the chain shows no approvals')
  const at = { domain: grid.domain, groupId: d.group, name: d.name, pinned: pinned.groups[d.group] }
  const { group, consent } = advance(at, d.consent.sequence === 0 ? undefined : d.consent, log, evidence)
  await checkState(grid, codeHash, d, group, consent)
  if (consent.sequence !== d.consent.sequence) d.taken = Date.now()
  d.consent = consent
  d.held = ''
  d.dirty = false
  return group
}

/**
 * One look at the chain; WHOLE: at everything, not at what events hint at. Changes PINNED; true when something was
 * learnt. A chain that went back or is away throws, and nothing is taken.
 */
export async function pull(
  grid: Grid,
  pinned: Pinned,
  node: { id: number; codeHash: Hex },
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
    const { sequence, frozenUntil } = d.consent
    try {
      newest.set(d.group, await look(grid, node.codeHash, pinned, d))
      changed = true
      const { consent } = d
      if (consent.sequence !== sequence || consent.frozenUntil !== frozenUntil)
        log(`${d.name}: step ${consent.sequence}, version ${consent.version}, ${consent.status}`)
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
