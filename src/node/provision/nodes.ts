import { type Grid, listNodes } from '#contract'

/**
 * The overlay keys (hex) of the grid's nodes but ME, as they signed them at their registration. The chain's word alone: a
 * node that is none gets asked for chunks, which are checked, and is given what is public.
 */
export async function otherNodes(grid: Grid, me: number): Promise<string[]> {
  const nodes = await listNodes(grid)
  return nodes.flatMap(({ id, state, attributes: { overlay } }) =>
    id !== me && state !== 'down' && typeof overlay === 'string' && /^[0-9a-f]{64}$/.test(overlay) ? [overlay] : [],
  )
}
