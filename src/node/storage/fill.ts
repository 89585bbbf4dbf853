import type { Store } from '#cas'
import { reasonOf } from '#codec'
import { sleep } from '#sys'
import { each } from './each.ts'
import type { Image } from './images.ts'

/** Bringing a whole image into the local store in the background, so that it runs on when the source is cut off. */
export type Fill = { total: number; done: number; selfContained: boolean; error: string }

/** Fewer than readers use: they go first. */
const AT_ONCE = 2
const RETRY_MS = 5000

/** Fills until everything is local or SIGNAL aborts; the state can be read at any time. */
export function startFill(store: Store, image: Image, signal: AbortSignal): Fill {
  const ids = new Map(image.disk.extents.map(({ id }) => [id.toString('hex'), id]))
  const state: Fill = { total: ids.size, done: 0, selfContained: !store.hub, error: '' }
  const work = async () => {
    // what was brought here must stay: the cache's limit spares pins
    const unpin = store.pin(ids.values())
    signal.addEventListener('abort', unpin, { once: true })
    while (!signal.aborted) {
      state.done = 0
      try {
        await each(ids.values(), AT_ONCE, (id) => local(store, id).then(() => state.done++), signal)
        state.error = ''
        state.selfContained = state.done === state.total
        if (state.selfContained) return
      } catch (error) {
        state.error = reasonOf(error)
      }
      await sleep(RETRY_MS, signal).catch(() => {})
    }
  }
  if (!state.selfContained) void work()
  else state.done = state.total
  return state
}

async function local(store: Store, id: Buffer): Promise<void> {
  if (!(await store.hasLocal(id))) await store.get(id)
}
