import { codeOf, ZosError } from '#codec'
import type { GroupState } from '../approval/set.ts'
import type { ConsentState } from '../approval/step.ts'
import { type Member, ROLE } from '../typed/schema.ts'
import { readConsent, readDeployment } from './deployments.ts'
import type { Grid } from './grid.ts'
import { keyOfNode } from './nodes.ts'
import { type Proven, proveDeployment } from './prove.ts'

type Hex = `0x${string}`

/** Who may read what a group keeps for one deployment, and as of which of its states. */
export type Readers = {
  /** Signers of the members that read or approve. */
  members: ReadonlySet<Hex>
  /** Keys (addresses) of the nodes that its approved slots are on, or that a migration has not left yet. */
  nodes: ReadonlySet<Hex>
  epoch: number
  sequence: number
  /** What is verified, to be given again. */
  known: Known
}

/** CHOSEN: every node that the group ever placed a slot of it on. Without the log, which may be long. */
type Known = { group: GroupState; state: ConsentState; chosen: ReadonlySet<number> }

/** At a step that is being taken right now the events and the proof may be of two blocks. */
const TRIES = 3

/**
 * As the group's signatures say, held against the proven state of a final block: nothing newer is kept back. Before the first
 * approval that is its members alone. BEFORE saves verifying again what has not changed. Throws `no-group`, or as the chain fails.
 */
export async function readReaders(grid: Grid, group: Hex, name: string, before?: Readers): Promise<Readers> {
  for (let n = 1; ; n++) {
    try {
      const proven = await proveDeployment(grid, group, name)
      const known = await verified(grid, group, name, proven, before?.known)
      const { set } = known.group
      const members = set.members.filter(({ roles }) => roles & (ROLE.read | ROLE.approve))
      return {
        members: new Set(members.map(({ signer }: Member) => signer)),
        nodes: proven.state === 'active' ? await nodesOf(grid, group, known) : new Set(),
        epoch: set.epoch,
        sequence: known.state.sequence,
        known,
      }
    } catch (error) {
      if (codeOf(error) !== 'kept-back' || n === TRIES) throw error
    }
  }
}

async function verified(grid: Grid, group: Hex, name: string, proven: Proven, before?: Known): Promise<Known> {
  const holds = ({ group: { digest }, state }: Pick<Known, 'group' | 'state'>) =>
    digest === proven.set && state.sequence === proven.sequence && (proven.sequence === 0 || state.head === proven.head)
  if (before && holds(before)) return before
  const consent = await readConsent(grid, group, name)
  if (!holds(consent))
    throw new ZosError(
      `Read who may read "${name}": the approvals told end at step ${consent.state.sequence}, the proven state is at step ${proven.sequence}`,
      { code: 'kept-back', kind: 'node' },
    )
  const steps = consent.log?.approvals ?? []
  const chosen = new Set(steps.flatMap(({ transition }) => transition.slots.map(({ node }) => node)))
  return { group: consent.group, state: consent.state, chosen }
}

async function nodesOf(grid: Grid, group: Hex, { state, chosen }: Known): Promise<Set<Hex>> {
  const { placed, status, name } = state
  const now = Date.now() / 1000
  const over = placed !== null && placed.expiry !== 0 && placed.expiry < now
  if (!placed || status !== 'active' || over) return new Set()
  const ids = new Set(placed.slots.map(({ node }) => node))
  // a node that a slot is leaving serves until the new one is up, so it still reads; but only if the group itself had chosen it
  for (const { leaving } of (await readDeployment(grid, group, name)).slots)
    if (leaving && leaving.until > now && chosen.has(leaving.node)) ids.add(leaving.node)
  return new Set(await Promise.all([...ids].map((id) => keyOfNode(grid, id))))
}
