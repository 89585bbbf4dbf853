import type { ChunkBackend } from './backend.ts'

export type Limiter = {
  /** The object was read or written just now. */
  used(id: string, bytes: number): void
  /** Resolves when no eviction is under way. */
  settled(): Promise<void>
}

/** Recency reaches the disk (as mtime) at most this often per object, so that it survives a restart. Milliseconds. */
const TOUCH_EVERY = 3600_000

/** What could not be made room for is tried again after this long, or when another hundredth of the limit is in use. Milliseconds. */
const REST = 60_000

/**
 * Keeps LOCAL below LIMIT bytes: the longest unused objects go until a tenth is free. Spares pins and whatever the
 * hub does not have (published before there was a hub).
 */
export function limiter(options: {
  local: ChunkBackend
  hub: ChunkBackend
  limit: number
  isPinned: (id: string) => boolean
  onEvict: () => void
}): Limiter {
  const { local, hub, limit, isPinned, onEvict } = options
  const known = new Map<string, { bytes: number; at: number; touched: number }>()
  let total = 0
  let scanned = false
  let running: Promise<void> | undefined
  /** When, and at how many bytes, the last attempt ended above the limit. */
  let stuck = { at: Number.NEGATIVE_INFINITY, total: 0 }

  const note = (id: string, bytes: number, at: number): boolean => {
    const old = known.get(id)
    const touched = old?.touched ?? at
    total += bytes - (old?.bytes ?? 0)
    known.set(id, { bytes, at, touched })
    if (!old || at - touched < TOUCH_EVERY) return false
    known.get(id)!.touched = at
    return true
  }

  const evict = async (): Promise<void> => {
    if (!scanned) {
      for await (const { id, bytes, mtime } of local.list()) if (!known.has(id)) note(id, bytes, mtime)
      scanned = true
    }
    if (total <= limit) return
    const oldest = [...known].sort(([, a], [, b]) => a.at - b.at)
    for (const [id, { bytes, at }] of oldest) {
      if (total <= limit * 0.9) return
      if (isPinned(id) || known.get(id)!.at !== at || !(await hub.has(id))) continue
      if (await local.delete(id)) onEvict()
      known.delete(id)
      total -= bytes
    }
  }

  return {
    used(id, bytes) {
      if (note(id, bytes, Date.now())) local.touch(id).catch(() => {})
      if (scanned && total <= limit) return
      if (performance.now() - stuck.at < REST && total < stuck.total + limit * 0.01) return
      // an absent hub or a failing disk stops evictions, never a read
      running ??= evict()
        .catch(() => {})
        .finally(() => {
          running = undefined
          if (!scanned || total > limit) stuck = { at: performance.now(), total }
        })
    },
    settled: async () => running,
  }
}
