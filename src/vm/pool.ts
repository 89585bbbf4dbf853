import { sleep } from '#sys'

export type PoolOptions<K, T> = {
  /** Names a kind: what waits under one name is of one kind. */
  nameOf: (kind: K) => string
  /** Makes one waiting VM with its disks; called for one VM at a time. */
  create: (kind: K) => Promise<T>
  /** Makes one that waits still quicker, while nobody wants anything; it cannot be claimed meanwhile. */
  polish?: (item: T) => Promise<void>
  /** Ends a VM that nobody claimed. */
  discard: (item: T) => Promise<void>
  /** False when it died while it waited. */
  usable: (item: T) => boolean
  /** How many of a kind wait that is warm or not, and was last claimed AGO ms ago. Default: see `wantedOf`. */
  wanted?: (kind: K, use: Use) => number
  /** Kinds that are kept warm before anyone asked. */
  warm?: readonly K[]
  /** All that may wait together; each takes some 30 MiB. */
  most?: number
  onError?: (error: unknown) => void
}

export type Use = { warm: boolean; ago: number }

/** Restored VMs waiting for work. */
export type Pool<K, T> = AsyncDisposable & {
  /** One that waits, or undefined: then the caller makes its own. Never waits for a restore. */
  claim: (kind: K) => T | undefined
  /** Says that KIND is in use, so that some of it wait, without taking one. */
  touch: (kind: K) => void
  /** Tops up in the background. Call it when the answer is out: a restore takes a core for 0.1 s. */
  refill: () => void
  /** Ends what waits of the kinds that WHICH names; they are made again when they are claimed again. */
  drop: (which: (kind: K) => boolean) => Promise<void>
  /** Resolves when nothing is being made. */
  settled: () => Promise<void>
  size: () => number
}

/** A caller that forgets refill() still gets one. */
const REFILL_AFTER = 2000
const STALE_AFTER = 600_000
const RETRY_AFTER = 5000
/** Milliseconds without a claim before time counts as free. */
const QUIET = 400
const LOOK_EVERY = 50

type Shelf<K, T> = { kind: K; warm: boolean; lastUsed: number; items: T[] }

/** Two of a warm kind, one of a kind used in the last ten minutes. */
function wantedOf(_kind: unknown, { warm, ago }: Use): number {
  if (warm) return 2
  return ago < STALE_AFTER ? 1 : 0
}

export function createPool<K, T>(options: PoolOptions<K, T>): Pool<K, T> {
  const { nameOf, create, polish, discard, usable, wanted = wantedOf, most = 4, onError = () => {} } = options
  const shelves = new Map<string, Shelf<K, T>>()
  const shelfOf = (kind: K, warm = false): Shelf<K, T> => {
    const name = nameOf(kind)
    const shelf = shelves.get(name) ?? { kind, warm, lastUsed: performance.now(), items: [] }
    shelves.set(name, shelf)
    return shelf
  }
  for (const kind of options.warm ?? []) shelfOf(kind, true)
  const abort = new AbortController()
  let filling: Promise<void> | undefined
  const rough = new Set<T>()
  let polishing: T | undefined
  let timer: NodeJS.Timeout | undefined

  const wantedNow = ({ kind, warm, lastUsed }: Shelf<K, T>) => wanted(kind, { warm, ago: performance.now() - lastUsed })
  const size = () => [...shelves.values()].reduce((n, { items }) => n + items.length, 0)
  const remove = async (shelf: Shelf<K, T>, item: T) => {
    shelf.items.splice(shelf.items.indexOf(item), 1)
    rough.delete(item)
    await discard(item).catch(onError)
  }
  /** Gives away what nobody wants any more; returns the shelf most in need. */
  const tidy = async (): Promise<Shelf<K, T> | undefined> => {
    for (const [name, shelf] of shelves) {
      for (const item of shelf.items.filter((i) => !usable(i))) await remove(shelf, item)
      while (shelf.items.length > wantedNow(shelf)) await remove(shelf, shelf.items[0]!)
      if (wantedNow(shelf) === 0) shelves.delete(name)
    }
    if (size() >= most) return undefined
    const short = [...shelves.values()].filter((s) => s.items.length < wantedNow(s))
    return short.sort((a, b) => a.items.length - b.items.length || b.lastUsed - a.lastUsed)[0]
  }
  const polishOne = async () => {
    const latest = Math.max(...[...shelves.values()].map(({ lastUsed }) => lastUsed))
    if (performance.now() - latest < QUIET) return sleep(LOOK_EVERY, abort.signal).catch(() => {})
    const [item] = rough
    const shelf = [...shelves.values()].find(({ items }) => items.includes(item!))
    rough.delete(item!)
    if (!shelf) return
    polishing = item
    try {
      await polish?.(item!)
    } catch (error) {
      onError(error)
      if (shelf.items.includes(item!)) await remove(shelf, item!)
    } finally {
      polishing = undefined
    }
  }
  const fill = async () => {
    for (;;) {
      if (abort.signal.aborted) return
      const shelf = await tidy()
      if (!shelf && rough.size === 0) return
      if (!shelf) {
        await polishOne()
        continue
      }
      const item = await create(shelf.kind)
      // dropped while it was being made
      if (abort.signal.aborted || shelves.get(nameOf(shelf.kind)) !== shelf) await discard(item)
      else {
        shelf.items.push(item)
        if (polish) rough.add(item)
      }
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
  const touch = (kind: K): Shelf<K, T> => {
    const shelf = shelfOf(kind)
    shelf.lastUsed = performance.now()
    clearTimeout(timer)
    timer = setTimeout(refill, REFILL_AFTER).unref()
    return shelf
  }
  return {
    touch: (kind) => void touch(kind),
    claim(kind) {
      const shelf = touch(kind)
      const free = shelf.items.filter((item) => item !== polishing && usable(item))
      const item = free.find((one) => !rough.has(one)) ?? free[0]
      if (item === undefined) return undefined
      shelf.items.splice(shelf.items.indexOf(item), 1)
      rough.delete(item)
      return item
    },
    refill,
    async drop(which) {
      for (const [name, shelf] of shelves) {
        if (!which(shelf.kind)) continue
        shelves.delete(name)
        for (const item of [...shelf.items]) await remove(shelf, item)
      }
    },
    size,
    settled: async () => {
      await filling
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer)
      abort.abort()
      await filling
      for (const shelf of shelves.values()) for (const item of [...shelf.items]) await remove(shelf, item)
    },
  }
}
