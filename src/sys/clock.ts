import { setTimeout as delay } from 'node:timers/promises'
import { ZosError } from '#codec'

/** Resolves after MS milliseconds; rejects at once when SIGNAL aborts. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> => delay(ms, undefined, signal ? { signal } : {})

/** Polls until ASK gives something truthy; after MS milliseconds throws, naming WHAT was waited for. */
export async function until<T>(
  what: string,
  ms: number,
  ask: () => T | Promise<T>,
  every = 20,
): Promise<NonNullable<T>> {
  const end = performance.now() + ms
  for (;;) {
    const value = await ask()
    if (value) return value
    if (performance.now() > end) {
      throw new ZosError(`Wait for ${what}: not within ${ms / 1000} s`, { code: 'deadline', kind: 'node' })
    }
    await sleep(every)
  }
}
