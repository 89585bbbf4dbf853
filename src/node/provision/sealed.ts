import { ZosError } from '#codec'
import {
  type Geo,
  leafOf,
  MODE,
  openSealed,
  type Resources,
  resourcesOf,
  type SlotSpec,
  type Workload,
} from '#contract'
import type { RestartPolicy } from '#wire'
import type { Wanted } from '../compute/api.ts'
import { type CardWanted, cardOf } from './cards.ts'
import type { Run } from './desired.ts'
import { workloadName } from './names.ts'
import type { Watched } from './pinned.ts'
import { requestOf } from './request.ts'
import type { Specs } from './specs.ts'

type Hex = `0x${string}`

/**
 * A slot's sealed spec as the planes take it: under which name, what runs, and what its card is; RESTART is what its
 * author wrote.
 */
export type Opened = {
  workload: string
  wanted: Wanted
  restart: RestartPolicy
  card: CardWanted | undefined
  geo: Geo | undefined
  /** Its image is for its group and the nodes of its deployment alone. */
  isPrivate: boolean
}

/** Specs kept open: those of the slots here, and of as many versions before. */
const KEPT = 512

/** What a sealed spec asks for must be what members agreed on and the chain booked, of each resource; undefined when it is. */
function notAsBooked(workload: SlotSpec['workload'], booked: Resources): string | undefined {
  // written by a client of any version: what is no list of volumes asks for none, and is then not what was booked
  const volumes = Array.isArray(workload.volumes) ? (workload.volumes as Workload['volumes']) : []
  // only the sum is booked: a part that is less than nothing would give another one more than that
  const parts = [...volumes.map((v) => v?.size), ...(workload.disk === undefined ? [] : [workload.disk])]
  const odd = parts.find((n) => !Number.isSafeInteger(n) || (n as number) < 1)
  if (odd !== undefined) return `the spec asks for a disk or volume of ${JSON.stringify(odd)} MiB`
  const asked = resourcesOf({ ...workload, volumes } as Workload)
  const unlike = (Object.keys(asked) as (keyof Resources)[]).find((r) => asked[r] !== booked[r])
  return unlike && `the spec asks for ${asked[unlike]} of ${unlike}, agreed on was ${booked[unlike]}`
}

/** Opens the specs sealed to this node; each once. */
export function openedSpecs(specs: Specs, secret: Uint8Array) {
  const opened = new Map<string, Opened>()
  return async (id: Hex, d: Watched, { slot, place, count }: Run): Promise<Opened> => {
    const { wiped } = d.consent
    // an undo of a version from before a wipe has its blob, and nothing else of it
    const as = `${slot.blob} ${wiped ?? 0}`
    const known = opened.get(as)
    if (known) return known
    const bytes = await specs.get(slot.blob)
    const expected = { blob: slot.blob, specRoot: d.consent.placed!.specRoot, index: place, count }
    const { spec, salt } = await openSealed(bytes, secret, expected)
    const wrong = (reason: string) => new ZosError(`Open slot ${slot.index}: ${reason}`, { code: 'wrong-spec' })
    if (spec.deployment !== d.name || spec.slot !== slot.index)
      throw wrong(`the spec inside is of "${spec.deployment}/${spec.slot}"`)
    const unlike = notAsBooked(spec.workload, slot.resources)
    if (unlike !== undefined) throw wrong(unlike)
    const workload = workloadName(id, slot.index, leafOf(spec, salt), wiped)
    const wanted = requestOf(id, slot.index, spec, wiped)
    const { restart } = wanted.request
    // a fenced one starts again only under a lease, and that is held here
    if (slot.mode !== MODE.keep) wanted.request.restart = { name: 'no' }
    const isPrivate = (spec.workload as Partial<Workload>).private === true
    const geo = (spec.workload.geo ?? undefined) as Geo | undefined
    const made = { workload, wanted, restart, card: cardOf(spec), geo, isPrivate }
    if (opened.size >= KEPT) opened.delete(opened.keys().next().value!)
    opened.set(as, made)
    return made
  }
}
