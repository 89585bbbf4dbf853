import { sleep } from '#sys'
import type { VmClass } from './args.ts'

export type PoolOptions<T> = {
  /** Makes one waiting VM with its disks; called for one VM at a time. */
  create: (vmClass: VmClass) => Promise<T>
  /** Ends a VM that nobody claimed. */
  discard: (item: T) => Promise<void>
  /** False when it died while it waited. */
  usable: (item: T) => boolean
  /** How many wait of this class, which was last claimed AGO ms ago. Default: see `wantedOf`. */
  wanted?: (vmClass: VmClass, ago: number) => number
  /** Classes that are kept warm before anyone asked. */
  warm?: readonly VmClass[]
  /** All that may wait together; each takes some 30 MiB. */
  most?: number
  onError?: (error: unknown) => void
}

/** Restored VMs waiting for work. */
export type Pool<T> = AsyncDisposable & {
  /** One that waits, or undefined: then the caller makes its own. Never waits for a restore. */
  claim: (vmClass: VmClass) => T | undefined
  /** Tops up in the background. Call it when the answer is out: a restore takes a core for 0.1 s. */
  refill: () => void
  /** Resolves when nothing is being made. */
  settled: () => Promise<void>
  size: () => number
}

/** A caller that forgets refill() still gets one. */
const REFILL_AFTER = 2000
const STALE_AFTER = 600_000
const RETRY_AFTER = 5000

type Shelf<T> = { vmClass: VmClass; warm: boolean; lastUsed: number; items: T[] }

/** Two of a warm class, one of a class used in the last ten minutes. */
function wantedOf(warm: boolean, ago: number): number {
  if (warm) return 2
  return ago < STALE_AFTER ? 1 : 0
}

export function createPool<T>(options: PoolOptions<T>): Pool<T> {
  const { create, discard, usable, most = 4, onError = () => {} } = options
  const shelves = new Map<string, Shelf<T>>()
  const shelfOf = (vmClass: VmClass, warm = false): Shelf<T> => {
    const key = `${vmClass.vcpus}/${vmClass.memoryMiB}`
    const shelf = shelves.get(key) ?? { vmClass, warm, lastUsed: performance.now(), items: [] }
    shelves.set(key, shelf)
    return shelf
  }
  for (const vmClass of options.warm ?? []) shelfOf(vmClass, true)
  const abort = new AbortController()
  let filling: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  const wanted = ({ vmClass, warm, lastUsed }: Shelf<T>) => {
    const ago = performance.now() - lastUsed
    return options.wanted ? options.wanted(vmClass, ago) : wantedOf(warm, ago)
  }
  const size = () => [...shelves.values()].reduce((n, { items }) => n + items.length, 0)
  const drop = async (shelf: Shelf<T>, item: T) => {
    shelf.items.splice(shelf.items.indexOf(item), 1)
    await discard(item).catch(onError)
  }
  /** Gives away what nobody wants any more; returns the shelf most in need. */
  const tidy = async (): Promise<Shelf<T> | undefined> => {
    for (const shelf of shelves.values()) {
      for (const item of shelf.items.filter((i) => !usable(i))) await drop(shelf, item)
      while (shelf.items.length > wanted(shelf)) await drop(shelf, shelf.items[0]!)
    }
    if (size() >= most) return undefined
    const short = [...shelves.values()].filter((s) => s.items.length < wanted(s))
    return short.sort((a, b) => a.items.length - b.items.length || b.lastUsed - a.lastUsed)[0]
  }
  const fill = async () => {
    for (;;) {
      if (abort.signal.aborted) return
      const shelf = await tidy()
      if (!shelf) return
      const item = await create(shelf.vmClass)
      if (abort.signal.aborted) return discard(item)
      shelf.items.push(item)
    }
  }
  const refill = () => {
    clearTimeout(timer)
    if (abort.signal.aborted) return
    filling ??= fill()
      .catch(async (error) => {
        onError(error)
        // whatever is wrong (disk full, no memory) is not cured by asking again at once
        await sleep(RETRY_AFTER, abort.signal).catch(() => {})
      })
      .finally(() => {
        filling = undefined
      })
  }
  return {
    claim(vmClass) {
      const shelf = shelfOf(vmClass)
      shelf.lastUsed = performance.now()
      clearTimeout(timer)
      timer = setTimeout(refill, REFILL_AFTER).unref()
      const at = shelf.items.findIndex(usable)
      return at < 0 ? undefined : shelf.items.splice(at, 1)[0]
    },
    refill,
    size,
    settled: async () => {
      await filling
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      abort.abort()
      await filling
      for (const shelf of shelves.values()) for (const item of [...shelf.items]) await drop(shelf, item)
    },
  }
}
