import { deploymentId, type Grid, type LedgerEvent, noConsent, placedOn, slotKeyOf, type Transition } from '#contract'
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
export function note(pinned: Pinned, me: number, event: LedgerEvent): void {
  const { name, args } = event
  if (name === 'Approved') {
    const t = args.transition as Transition
    if (t.slots.some((s) => s.node === me)) pinned.deployments[deploymentId(t.group, t.name)] ??= fresh(t.group, t.name)
  }
  if (name === 'GroupSet') for (const d of Object.values(pinned.deployments)) if (d.group === args.group) d.dirty = true
  const watched = pinned.deployments[args.id as Hex]
  if (!watched) return
  if (['Approved', 'Frozen', 'Ended', 'Released'].includes(name)) watched.dirty = true
  if (args.node !== me) return
  const key = slotKeyOf(args.key as number)
  const others = watched.released.filter((k) => k !== key)
  if (name === 'Placed') watched.released = others
  if (name === 'Released') watched.released = [...others, key]
}

/**
 * Asks again, from the first block on, for what was ever placed here: a hint that one RPC kept back does not stay lost.
 * Everything known is looked at again as well.
 */
export async function lookAtAll(grid: Grid, pinned: Pinned, me: number): Promise<void> {
  const known = new Set(Object.keys(pinned.deployments) as Hex[])
  for (const { id, group, name } of await placedOn(grid, me, known)) pinned.deployments[id] = fresh(group, name)
  for (const d of Object.values(pinned.deployments)) d.dirty = true
}
