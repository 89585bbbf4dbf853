/** So much may go at once after a pause: two large packets, or 20 ms of the rate where that is more. */
const BURST_BYTES = 64 << 10
const BURST_MS = 20

export type Bucket = ReturnType<typeof createBucket>

/** A token bucket of KILOBITS per second. Times are milliseconds; what is taken may be owed, and is waited for. */
export function createBucket(kilobits: number, now: number) {
  const perMs = kilobits / 8
  const size = Math.max(BURST_BYTES, perMs * BURST_MS)
  let tokens = size
  let filled = now
  const fill = (time: number) => {
    tokens = Math.min(size, tokens + (time - filled) * perMs)
    filled = time
  }
  return {
    /** Takes LENGTH bytes; false when the next ones have to wait. */
    take(length: number, time: number): boolean {
      fill(time)
      tokens -= length
      return tokens >= 0
    },
    /** When what is owed will be paid. */
    paidAt: (): number => (tokens >= 0 ? filled : filled - tokens / perMs),
  }
}
