import { type Grid, listNodes } from '#contract'

/** Another node of the grid: its number there, and its key on the overlay (hex). */
export type OtherNode = { id: number; key: string }

/**
 * The grid's nodes but ME, with the keys they signed at their registration. The chain's word alone: a node that is none gets asked
 * for chunks, which are checked, and is given what is public.
 */
export async function otherNodes(grid: Grid, me: number): Promise<OtherNode[]> {
  const nodes = await listNodes(grid)
  return nodes.flatMap(({ id, state, attributes: { overlay } }) =>
    id !== me && state !== 'down' && typeof overlay === 'string' && /^[0-9a-f]{64}$/.test(overlay)
      ? [{ id, key: overlay }]
      : [],
  )
}
