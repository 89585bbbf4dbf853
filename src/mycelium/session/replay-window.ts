/** Counters remembered; WireGuard's size. A power of two, so that positions wrap by a mask. */
const BITS = 8192
const WORDS = BITS / 32

/** RFC 6479: which counters came already. What lags a whole window behind the highest counts as come. */
export function createReplayWindow() {
  const seen = new Uint32Array(WORDS)
  let highest = -1
  const wordOf = (counter: number): number => Math.floor(counter / 32) % WORDS
  return {
    isFresh(counter: number): boolean {
      if (counter > highest) return true
      // one word is always being emptied for what comes next
      if (highest - counter >= BITS - 32) return false
      return (seen[wordOf(counter)]! & (1 << (counter & 31))) === 0
    },
    /** Call only for a fresh counter whose message is authentic. */
    accept(counter: number): void {
      if (counter > highest) {
        const from = Math.floor(highest / 32) + 1
        const to = Math.min(Math.floor(counter / 32), from + WORDS - 1)
        for (let word = from; word <= to; word++) seen[word % WORDS] = 0
        highest = counter
      }
      seen[wordOf(counter)]! |= 1 << (counter & 31)
    },
  }
}
