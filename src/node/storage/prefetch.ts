import { type ChunkCache, keyOf } from '#zosfs'
import { chunksOf } from './check.ts'
import { each } from './each.ts'
import type { Image } from './images.ts'

/** Enough to fill a line of 100 Mbit/s and 30 ms; readers have connections left. */
const AT_ONCE = 12

/** The chunks of the published start closure. */
export function closureChunks(image: Image): Buffer[] {
  return image.manifest.startClosure.flatMap((file) => chunksOf(image, file))
}

/** The chunks of a trace, in its order. */
export const tracedChunks = ({ disk }: Image, order: readonly number[]): Buffer[] =>
  order.map((n) => disk.extents[n]!.id)

/**
 * Brings IDS into memory in order, before anybody asks. Ends early when half the cache is filled; failures are left to
 * whoever reads.
 */
export async function prefetch(cache: ChunkCache, ids: readonly Buffer[], signal: AbortSignal): Promise<void> {
  let room = cache.stat().limit / 2
  const fetch = async (id: Buffer) => {
    if (room <= 0) return
    const key = keyOf(id)
    room -= (cache.peek(key) ?? (await cache.load(id, key, { signal }).catch(() => Buffer.alloc(0)))).length
  }
  await each(ids, AT_ONCE, fetch, signal)
}
