import type { Watched } from './pinned.ts'

type Hex = `0x${string}`

/** An image that is here, and which other nodes (their numbers on the chain) are given of it; absent: all of the grid's. */
export type SharedImage = { digest: string; nodes?: number[] }

/** Of a workload whose spec was opened: whose it is, and whether its image is for its group alone. */
export type Noted = { id: Hex; isPrivate: boolean }

/**
 * What other nodes may fetch from this one, ME: the images of the workloads that are HERE. Of one that a group keeps to itself only
 * the nodes that its deployment is placed on now, as was verified here: the right they have at a hub. What is not NOTED is not given.
 */
export function sharedImages(
  deployments: Record<Hex, Watched>,
  here: readonly { name: string; digest: string }[],
  noted: ReadonlyMap<string, Noted>,
  me: number,
  now: number,
): SharedImage[] {
  const shared = new Map<string, Set<number> | 'all'>()
  for (const { name, digest } of here) {
    const note = noted.get(name)
    if (!note) continue
    const before = shared.get(digest)
    if (!note.isPrivate) shared.set(digest, 'all')
    if (!note.isPrivate || before === 'all') continue
    const { placed, status } = deployments[note.id]?.consent ?? { placed: null, status: 'none' }
    const over = placed !== null && placed.expiry !== 0 && placed.expiry * 1000 < now
    const slots = placed && status === 'active' && !over ? placed.slots : []
    const nodes = slots.map(({ node }) => node).filter((node) => node !== me)
    shared.set(digest, new Set([...(before ?? []), ...nodes]))
  }
  return [...shared].map(([digest, to]) =>
    to === 'all' ? { digest } : { digest, nodes: [...to].sort((a, b) => a - b) },
  )
}
