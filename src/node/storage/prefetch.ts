import { type ChunkCache, keyOf } from '#zosfs'
import { chunksOf } from './check.ts'
import { each } from './each.ts'
import type { Image } from './images.ts'

const AT_ONCE = 8

/**
 * Brings into memory what a start will read: first the published start closure, then what earlier starts touched (ORDER,
 * extent numbers), in that order. Ends early when half the cache is filled; failures are left to whoever reads.
 */
export async function prefetch(cache: ChunkCache, image: Image, order: readonly number[], signal: AbortSignal) {
  const { manifest, disk } = image
  const ids = new Map<string, Buffer>()
  for (const file of manifest.startClosure) for (const id of chunksOf(image, file)) ids.set(keyOf(id), id)
  for (const n of order) ids.set(keyOf(disk.extents[n]!.id), disk.extents[n]!.id)
  let room = cache.stat().limit / 2
  const fetch = async ([key, id]: [string, Buffer]) => {
    if (room <= 0) return
    const known = cache.peek(key)
    room -= (known ?? (await cache.load(id, key, { signal }).catch(() => Buffer.alloc(0)))).length
  }
  await each(ids, AT_ONCE, fetch, signal)
}
