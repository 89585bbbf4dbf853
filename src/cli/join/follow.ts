import { reasonOf } from '#codec'
import { type Cursor, type Grid, poll } from '#contract'
import { sleep } from '#sys'

/** Between two looks at the chain, and after one that failed. Milliseconds. */
const LOOK = 1000
const RETRY = 5000
/** What changes who may reach what. */
const NEWS = new Set(['Approved', 'Ended', 'GroupSet'])

/** Calls LOOK whenever the chain has something new, again after it failed (WARN says why, once), until SIGNAL. */
export async function follow(
  grid: Grid,
  look: () => Promise<void>,
  warn: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  let cursor: Cursor | undefined
  let failed = ''
  while (!signal.aborted) {
    try {
      const batch = await poll(grid, cursor)
      if (batch.events.some(({ name }) => NEWS.has(name))) await look()
      cursor = batch.cursor
      failed = ''
    } catch (error) {
      if (failed !== reasonOf(error)) warn(`what is new is not known: ${reasonOf(error)}`)
      failed = reasonOf(error)
    }
    await sleep(failed === '' ? LOOK : RETRY, signal).catch(() => {})
  }
}
