import type { Extent } from './data-plan.ts'

/** The last extent that starts at or before BLOCK, or -1; FIRSTS are the first blocks, ascending. */
export function extentAt(firsts: Float64Array, block: number): number {
  let low = 0
  let high = firsts.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (firsts[middle]! <= block) low = middle + 1
    else high = middle
  }
  return low - 1
}

export const firstBlocks = (extents: readonly Extent[]): Float64Array => Float64Array.from(extents, (e) => e.block)
