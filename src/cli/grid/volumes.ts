import { ZosError } from '#codec'
import type { SlotSpec, Transition, Workload } from '#contract'
import { openPlaced } from './sealed.ts'
import type { Act } from './steps.ts'

// written by a client of any version
const volumesOf = ({ workload }: SlotSpec): Workload['volumes'] =>
  Array.isArray(workload.volumes) ? (workload.volumes as Workload['volumes']) : []

/** Refuses with one line what would make a slot's volume smaller than BEFORE: no node can. WHAT: what is proposed. */
export function refuseShrunk(what: string, before: readonly SlotSpec[], after: readonly SlotSpec[]): void {
  for (const now of before)
    for (const { name, size } of volumesOf(now)) {
      const next = after.filter((s) => s.slot === now.slot).flatMap(volumesOf)
      const smaller = next.find((v) => v.name === name && v.size < size)
      if (!smaller) continue
      throw new ZosError(
        `Propose to ${what}: volume "${name}" of slot ${now.slot} has ${size} MiB and is to have ${smaller.size}: volumes do not shrink; leave its size, or give the smaller one another name`,
        { code: 'volume-shrink' },
      )
    }
}

/** The same of a step back to PLACED, as far as who proposes it may read the two specs. */
export async function refuseShrunkTo({ context, key, consent, name }: Act, placed: Partial<Transition>): Promise<void> {
  const now = consent.state.placed
  if (!now) return
  const open = (t: Transition) => openPlaced(context, key, t).catch(() => [])
  const [before, after] = await Promise.all([open(now), open({ ...now, ...placed })])
  const specs = (all: Awaited<ReturnType<typeof open>>) => all.map(({ spec }) => spec)
  refuseShrunk(`undo "${name}"`, specs(before), specs(after))
}
