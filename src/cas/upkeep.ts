import { open } from 'node:fs/promises'
import { codeOf, reasonOf, ZosError } from '#codec'
import type { ChunkBackend } from './backend.ts'
import { objectPath } from './dir_sync.ts'
import type { Store } from './store.ts'
import { isBlob } from './stored.ts'
import { nowIn, oldestWriting } from './writers.ts'

export type Usage = { objects: number; bytes: number }

/** Counts and sums what BACKEND keeps. */
export async function usage(backend: ChunkBackend): Promise<Usage> {
  const sum = { objects: 0, bytes: 0 }
  for await (const { bytes } of backend.list()) {
    sum.objects++
    sum.bytes += bytes
  }
  return sum
}

/**
 * Ids of all blobs (manifests are some of them) in a folder of this machine; `no-folder` for another place, `source-away` when one
 * cannot be looked at: left out, it would be taken for what nobody needs.
 */
export async function* blobsIn(backend: ChunkBackend): AsyncGenerator<string> {
  const { direct } = backend
  if (!direct)
    throw new ZosError(`Look through "${backend.label}": it is no folder of this machine`, { code: 'no-folder' })
  const first = Buffer.alloc(1)
  for await (const { id } of backend.list()) {
    let found: number
    try {
      await using file = await open(objectPath(direct.dir, id))
      found = (await file.read(first, 0, 1, 0)).bytesRead
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') continue // collected meanwhile
      throw new ZosError(`Look through "${backend.label}": ${reasonOf(cause)}`, {
        code: 'source-away',
        kind: 'node',
        cause,
      })
    }
    if (found === 1 && isBlob(first[0])) yield id
  }
}

export type ScrubReport = {
  checked: number
  bytes: number
  /** Ids replaced by a good copy from the other place. */
  healed: { id: string; where: 'local' | 'hub' }[]
  /** Damaged with no good copy: removed locally, so that publishing stores them anew; left alone at the hub. */
  lost: { id: string; where: 'local' | 'hub'; found: string }[]
  /** Damaged, but the other place could not be asked for a good copy: left as it is, for another scrub. */
  unsure: { id: string; where: 'local' | 'hub'; found: string }[]
  /** Why the hub could not be asked: what it keeps is not, or not all, among what was checked. */
  away: string[]
}

/** Checks every object here and at the hub against its id, healing each place from the other. */
export async function scrub(
  store: Store,
  options: { signal?: AbortSignal; onProgress?: (done: { checked: number; bytes: number }) => void } = {},
): Promise<ScrubReport> {
  const report: ScrubReport = { checked: 0, bytes: 0, healed: [], lost: [], unsure: [], away: [] }
  const places = [
    { where: 'local' as const, backend: store.local, other: store.hub },
    ...(store.hub ? [{ where: 'hub' as const, backend: store.hub, other: store.local }] : []),
  ]
  for (const { where, backend, other } of places) {
    try {
      for await (const { id } of backend.list()) {
        options.signal?.throwIfAborted()
        const stored = await backend.get(id)
        if (!stored) continue // collected meanwhile
        const opened = await store.workers.open(id, stored)
        report.checked++
        report.bytes += stored.length
        options.onProgress?.(report)
        if (opened.ok) continue
        const good = await other?.get(id).catch(() => 'not asked' as const)
        if (good === 'not asked') report.unsure.push({ id, where, found: opened.found })
        else if (good && (await store.workers.open(id, good)).ok) {
          await backend.put(id, good)
          report.healed.push({ id, where })
        } else {
          if (where === 'local') await backend.delete(id)
          report.lost.push({ id, where, found: opened.found })
        }
      }
      await backend.flush()
    } catch (error) {
      // a place that is away is not a damaged one; without the local folder there is nothing to scrub
      if (where === 'local' || codeOf(error) !== 'source-away') throw error
      report.away.push(reasonOf(error))
    }
  }
  return report
}

export type Collected = { kept: number; removed: number; removedBytes: number }

/** Longer than any publish takes, so that what one has stored but not yet tagged is safe. Milliseconds. */
export const DEFAULT_GRACE = 24 * 3600_000

/**
 * Removes from BACKEND (default: the local folder) every object not in LIVE that was neither written nor claimed
 * within the grace period, nor since the beginning of a publish that still runs on this machine. LIVE: ids as hex of
 * everything reachable; when it throws, nothing is removed.
 */
export async function collect(
  store: Store,
  live: AsyncIterable<string> | Iterable<string>,
  options: { grace?: number; backend?: ChunkBackend; signal?: AbortSignal } = {},
): Promise<Collected> {
  const backend = options.backend ?? store.local
  // both before marking: what a publish that begins later writes is younger than this
  const now = nowIn(backend) - (options.grace ?? DEFAULT_GRACE)
  const before = Math.min(now, oldestWriting(backend))
  const marked = new Set<string>()
  for await (const id of live) marked.add(id)
  const result: Collected = { kept: 0, removed: 0, removedBytes: 0 }
  for await (const { id, bytes, mtime } of backend.list()) {
    options.signal?.throwIfAborted()
    if (mtime >= before || marked.has(id) || store.isPinned(id) || !(await backend.deleteOlder(id, before))) {
      result.kept++
    } else {
      result.removed++
      result.removedBytes += bytes
    }
  }
  return result
}
