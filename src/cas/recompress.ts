import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { ZosError } from '#codec'
import type { ChunkBackend } from './backend.ts'
import type { Outcome } from './recompress_worker.ts'

export type Recompressed = { looked: number; rewritten: number; before: number; after: number }

/**
 * Compresses what BACKEND keeps as hard as it gets, one object after the other in a thread of the lowest priority. Ids stay,
 * each object is whole to every reader at every moment, what was done once is not tried again. PAUSE is awaited before
 * each object with the milliseconds the last one took: whoever calls decides how much of a core this may use.
 */
export async function recompress(
  backend: ChunkBackend,
  options: {
    signal?: AbortSignal
    pause?: (took: number) => Promise<void>
    onProgress?: (so: Recompressed) => void
  } = {},
): Promise<Recompressed> {
  const { direct } = backend
  const done: Recompressed = { looked: 0, rewritten: 0, before: 0, after: 0 }
  if (!direct)
    throw new ZosError(`Recompress "${backend.label}": it is no folder of this machine`, { code: 'no-folder' })
  const place = { dir: direct.dir, temporary: direct.temporary }
  await mkdir(place.temporary, { recursive: true })
  const worker = new Worker(new URL('./recompress_worker.ts', import.meta.url))
  try {
    let took = 0
    for await (const { id } of backend.list()) {
      await options.pause?.(took)
      options.signal?.throwIfAborted()
      const begun = performance.now()
      worker.postMessage({ place, id })
      const [{ outcome, failure }] = (await once(worker, 'message')) as [{ outcome: Outcome; failure?: string }]
      if (failure) throw new ZosError(`Recompress "${backend.label}": ${failure}`, { code: 'recompress', kind: 'node' })
      done.looked++
      if (outcome) {
        done.rewritten++
        done.before += outcome.before
        done.after += outcome.after
      }
      options.onProgress?.(done)
      took = outcome ? performance.now() - begun : 0
    }
  } finally {
    await worker.terminate()
  }
  return done
}
