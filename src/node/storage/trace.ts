import { mkdirSync } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { writeAtomic } from '#sys'
import { decodeTrace, encodeTrace, type Hints } from '#zosfs'

/**
 * Extents in the order in which starts first touched them, here and beside the manifest at the hub, so that a node that
 * never ran an image knows as well. A hint: whatever is odd, or cannot be had, means no trace.
 */
export type Traces = {
  load(digest: string, extents: number): Promise<number[]>
  /** Keeps ORDER, here at once, at the hub when it can be reached. */
  save(digest: string, order: readonly number[]): Promise<void>
}

/** Traces kept here; the oldest go. */
const KEPT = 500

/** Traces below DIR, one file per manifest digest, and HUB's. */
export function openTraces(dir: string, hub: Hints | undefined): Traces {
  const path = (digest: string) => join(dir, digest)
  return {
    async load(digest, extents) {
      const sources = [() => readFile(path(digest)), () => hub?.get(digest)]
      for (const source of sources) {
        const bytes = await Promise.try(source).catch(() => undefined)
        const order = bytes && decodeTrace(bytes)
        if (order?.every((n) => n < extents)) return order
      }
      return []
    },
    async save(digest, order) {
      const bytes = encodeTrace(order)
      mkdirSync(dir, { recursive: true, mode: 0o700 })
      await writeAtomic(path(digest), bytes, { sync: false, mode: 0o600 })
      await prune(dir)
      await hub?.put(digest, bytes).catch(() => {}) // one that is away, or that only gives
    },
  }
}

async function prune(dir: string): Promise<void> {
  const names = await readdir(dir)
  if (names.length <= KEPT) return
  const aged = await Promise.all(
    names.map(async (name) => ({ name, mtime: (await stat(join(dir, name)).catch(() => undefined))?.mtimeMs ?? 0 })),
  )
  aged.sort((a, b) => a.mtime - b.mtime)
  for (const { name } of aged.slice(0, names.length - KEPT)) await rm(join(dir, name), { force: true })
}
