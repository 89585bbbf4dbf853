import type { RestartPolicy } from '#wire'

const FIRST_DELAY = 100
const LONGEST_DELAY = 60_000
/** A run this long counts as healthy and starts the back-off anew. Docker's figure. */
const HEALTHY = 10_000

export type Ending = {
  exitCode: number
  /** A person stopped, killed or removed it. */
  byHand: boolean
  /** Milliseconds it ran. */
  ran: number
  /** Restarts in a row so far. */
  restarts: number
}

/** Milliseconds to wait before it starts again, or undefined when it stays down. */
export function restartDelay(policy: RestartPolicy, ending: Ending): number | undefined {
  const wanted =
    !ending.byHand &&
    (policy.name === 'always' ||
      policy.name === 'unless-stopped' ||
      (policy.name === 'on-failure' &&
        ending.exitCode !== 0 &&
        (policy.max === undefined || ending.restarts < policy.max)))
  if (!wanted) return undefined
  const row = ending.ran >= HEALTHY ? 0 : ending.restarts
  return Math.min(FIRST_DELAY * 2 ** row, LONGEST_DELAY)
}
