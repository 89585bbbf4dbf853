import type { Image } from './images.ts'
import type { Traces } from './trace.ts'

/** What the reads of one export touched, in order. */
export type Touches = {
  note(extent: number): void
  /** Adds what was touched so far to the image's trace: the start is over. */
  keep(): Promise<void>
  stat(): { chunks: number; fetchedBytes: number }
}

const BLOCK = 4096

export function recordTouches({ digest, disk }: Image, traces: Traces): Touches {
  const seen = new Uint8Array(disk.extents.length)
  let order: number[] = []
  let recording = true
  let chunks = 0
  let fetchedBytes = 0
  return {
    note(n) {
      if (seen[n]) return
      seen[n] = 1
      chunks++
      fetchedBytes += disk.extents[n]!.blocks * BLOCK
      if (recording) order.push(n)
    },
    async keep() {
      recording = false
      const mine = order
      order = []
      const earlier = await traces.load(digest, disk.extents.length)
      const known = new Set(earlier)
      const fresh = mine.filter((n) => !known.has(n))
      if (fresh.length > 0) await traces.save(digest, [...earlier, ...fresh])
    },
    stat: () => ({ chunks, fetchedBytes }),
  }
}
