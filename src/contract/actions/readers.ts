import { codeOf, ZosError } from '#codec'
import type { ConsentState } from '../approval/step.ts'
import { type Member, ROLE } from '../typed/schema.ts'
import { type Consent, readConsent, readDeployment } from './deployments.ts'
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
  known: { consent: Consent; proven: Proven }
}

/** At a step that is being taken right now the events and the proof may be of two blocks. */
const TRIES = 3

/**
 * As the group's signatures say, held against the proven state of a final block: nothing newer is kept back. Before the first
 * approval that is its members alone. BEFORE saves verifying again what has not changed. Throws `no-group`, or as the chain fails.
 */
export async function readReaders(grid: Grid, group: Hex, name: string, before?: Readers): Promise<Readers> {
  for (let n = 1; ; n++) {
    try {
      const known = await verified(grid, group, name, before?.known)
      const { group: state, state: consent } = known.consent
      const members = state.set.members.filter(({ roles }) => roles & (ROLE.read | ROLE.approve))
      return {
        members: new Set(members.map(({ signer }: Member) => signer)),
        nodes: await nodesOf(grid, group, known),
        epoch: state.set.epoch,
        sequence: consent.sequence,
        known,
      }
    } catch (error) {
      if (codeOf(error) !== 'kept-back' || n === TRIES) throw error
    }
  }
}

async function verified(grid: Grid, group: Hex, name: string, before?: Readers['known']): Promise<Readers['known']> {
  const proven = await proveDeployment(grid, group, name)
  const same = (state: ConsentState, set: Hex) =>
    set === proven.set && state.sequence === proven.sequence && (proven.sequence === 0 || state.head === proven.head)
  if (before && same(before.consent.state, before.consent.group.digest)) return { consent: before.consent, proven }
  const consent = await readConsent(grid, group, name)
  if (!same(consent.state, consent.group.digest))
    throw new ZosError(
      `Read who may read "${name}": the approvals told end at step ${consent.state.sequence}, the proven state is at step ${proven.sequence}`,
      { code: 'kept-back', kind: 'node' },
    )
  return { consent, proven }
}

async function nodesOf(grid: Grid, group: Hex, { consent, proven }: Readers['known']): Promise<Set<Hex>> {
  const { placed, status, name } = consent.state
  const now = Date.now() / 1000
  const over = placed !== null && placed.expiry !== 0 && placed.expiry < now
  if (!placed || status !== 'active' || proven.state !== 'active' || over) return new Set()
  const ids = new Set(placed.slots.map(({ node }) => node))
  // who a slot is being moved away from serves until the other is up; but only one that the group had chosen itself
  const chosen = new Set(consent.log?.approvals.flatMap(({ transition }) => transition.slots.map(({ node }) => node)))
  for (const { leaving } of (await readDeployment(grid, group, name)).slots)
    if (leaving && leaving.until > now && chosen.has(leaving.node)) ids.add(leaving.node)
  return new Set(await Promise.all([...ids].map((id) => keyOfNode(grid, id))))
}
