/** After so long a chain that is behind what was seen of it has gone back. Milliseconds. */
const BEHIND = 60_000

/** Where we stand on the chain may itself have been a lie: whether it is to be doubted, by how one look after the other ended. */
export function doubt() {
  let behind: number | undefined
  return {
    /** A look came through. */
    trust() {
      behind = undefined
    },
    /** A look begun at NOW (ms) ended with CODE; true: what follows begins anew. */
    isDue(code: string, now: number): boolean {
      if (code === 'chain-went-back') return true
      // one that gives no answer at times has not caught up by that
      if (code !== 'chain-behind') return false
      behind ??= now
      return now - behind > BEHIND
    },
  }
}
