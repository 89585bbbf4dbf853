import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ZosError } from '#codec'

/** Resolves after MS milliseconds; rejects at once when SIGNAL aborts. */
export const sleep = (ms: number, signal?: AbortSignal): Promise<void> => delay(ms, undefined, signal ? { signal } : {})

/** Whether WORK is done within MS milliseconds; it goes on when it is not. Rejects when WORK did. */
export async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const done = new AbortController()
  const late = sleep(ms, done.signal).then(
    () => false,
    () => false,
  )
  try {
    return await Promise.race([work.then(() => true), late])
  } finally {
    done.abort()
  }
}

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

/**
 * Milliseconds since this machine was booted, time asleep included: one clock for all its processes, whether they run or
 * are stopped (CLOCK_BOOTTIME, which /proc/uptime gives to 10 ms, rounded down).
 */
export const bootClock = (): number => Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
