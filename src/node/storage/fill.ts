import type { Store } from '#cas'
import { reasonOf } from '#codec'
import { sleep } from '#sys'
import { each } from './each.ts'
import type { Image } from './images.ts'

/** Bringing a whole image into the local store in the background, so that it runs on when the source is cut off. */
export type Fill = { total: number; done: number; selfContained: boolean; error: string }

export type Filler = {
  /** Fills until everything is local or SIGNAL aborts; the state can be read at any time. */
  start(image: Image, signal: AbortSignal): Fill
}

/** Chunks at a time, over all images: fewer than readers use. */
const AT_ONCE = 2
const RETRY_MS = 5000
/** While somebody waits for a chunk a fill waits too, this long at most so that it ends some day. */
const YIELD_MS = 1000
const LOOK_MS = 20

/** Fills the images of running workloads one after the other; READERS: how many chunks somebody waits for now. */
export function openFiller(store: Store, readers: () => number): Filler {
  let turn: Promise<void> = Promise.resolve()

  const fetch = async (id: Buffer, signal: AbortSignal) => {
    if (await store.hasLocal(id)) return
    for (let waited = 0; readers() > 0 && waited < YIELD_MS; waited += LOOK_MS) await sleep(LOOK_MS, signal)
    await store.get(id)
  }

  const round = async (ids: ReadonlyMap<string, Buffer>, state: Fill, signal: AbortSignal) => {
    state.done = 0
    try {
      await each(ids.values(), AT_ONCE, (id) => fetch(id, signal).then(() => state.done++), signal)
      state.error = ''
      state.selfContained = state.done === state.total
    } catch (error) {
      state.error = reasonOf(error)
    }
  }

  const work = async (ids: ReadonlyMap<string, Buffer>, state: Fill, signal: AbortSignal) => {
    // what was brought here must stay: the cache's limit spares pins
    const unpin = store.pin(ids.values())
    signal.addEventListener('abort', unpin, { once: true })
    while (!signal.aborted && !state.selfContained) {
      turn = turn.then(() => (signal.aborted ? undefined : round(ids, state, signal)))
      await turn
      if (!state.selfContained) await sleep(RETRY_MS, signal).catch(() => {})
    }
  }

  return {
    start(image, signal) {
      const ids = new Map(image.disk.extents.map(({ id }) => [id.toString('hex'), id]))
      const state: Fill = { total: ids.size, done: 0, selfContained: !store.hub, error: '' }
      if (state.selfContained) state.done = state.total
      else void work(ids, state, signal)
      return state
    },
  }
}
