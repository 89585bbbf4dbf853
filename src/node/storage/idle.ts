import { availableParallelism, loadavg } from 'node:os'
import { homeOf, recompress } from '#cas'
import { reasonOf } from '#codec'
import { sleep } from '#sys'
import type { Library } from '#zosfs'

export type IdleOptions = {
  /** Nobody read anything for this long. Milliseconds. */
  quiet?: number
  /** From the end of one pass to the next. Milliseconds. */
  every?: number
  /** How often it is looked whether all is quiet. Milliseconds. */
  look?: number
  /** The machine's load average. */
  load?: () => number
}

const QUIET_MS = 300_000
const EVERY_MS = 24 * 3600_000
const LOOK_MS = 30_000
/** Load average per core below which a machine counts as having time. */
const LOAD = 0.5

/**
 * While the node has nothing to do, what was published is compressed again as hard as it gets: one thread of the lowest
 * priority, at most half of a core. WORK counts what readers have asked for: as soon as it moves, the pass ends; the
 * next one passes over what is done already. Nothing happens where the hub is not a folder of this machine.
 */
export function startIdleWork(
  library: Library,
  work: () => number,
  log: (line: string) => void,
  options: IdleOptions = {},
): Disposable {
  const { quiet = QUIET_MS, every = EVERY_MS, look = LOOK_MS, load = () => loadavg()[0]! } = options
  const home = homeOf(library.store)
  let seen = work()
  let since = performance.now()
  let next = 0
  let pass: AbortController | undefined

  const isQuiet = () => {
    if (work() !== seen) {
      seen = work()
      since = performance.now()
    }
    return performance.now() - since >= quiet && load() < LOAD * availableParallelism()
  }

  const run = async (stop: AbortController) => {
    const pause = async (took: number) => {
      if (!isQuiet()) stop.abort()
      else await sleep(took, stop.signal)
    }
    try {
      const { rewritten, before, after } = await recompress(home, { signal: stop.signal, pause })
      next = performance.now() + every
      if (rewritten > 0) log(`recompressed ${rewritten} objects, ${before} bytes to ${after}`)
    } catch (error) {
      if (stop.signal.aborted) return
      next = performance.now() + every
      log(`recompress: ${reasonOf(error)}`)
    }
  }

  const timer = setInterval(() => {
    if (!home.direct || pass || !isQuiet() || performance.now() < next) return
    pass = new AbortController()
    void run(pass).finally(() => {
      pass = undefined
    })
  }, look)
  timer.unref()
  return {
    [Symbol.dispose]() {
      clearInterval(timer)
      pass?.abort()
    },
  }
}
