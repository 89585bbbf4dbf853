import { LARGEST } from '../wire/large.ts'

/** Milliseconds: an answer is good for this long and renewed well before, so that a path that changed is noticed. */
const GOOD_FOR = 6_000
const ASK_EVERY = 2_000
const SILENT_MAX = 60_000
/** An answer that does not come within this is none. */
const PATIENCE = 500
/** Asked, and the answer may still come: whoever has a packet too large for the public network should send it again soon. */
export const UNKNOWN = -1

export type Large = ReturnType<typeof createLarge>

/** Whether one other node takes packets larger than the public network's. */
export function createLarge() {
  let largest = 0
  let until = 0
  let askAt = 0
  let silence = ASK_EVERY
  let asked = false
  let askedAt = 0
  return {
    /** True when the other node is to be asked now; the caller then asks it. */
    isToBeAsked(now: number): boolean {
      if (now < askAt) return false
      asked = true
      askAt = now + silence
      if (now >= until) askedAt = now
      silence = Math.min(silence * 2, SILENT_MAX)
      return true
    },
    /** The largest packet it takes now; 0 when it does not say, UNKNOWN while it may yet. */
    size(now: number): number {
      if (now < until) return largest
      return asked && now < askedAt + PATIENCE ? UNKNOWN : 0
    },
    /** It answered: packets up to SIZE are welcome, 0 when the path cannot. Unasked answers are ignored. */
    answered(size: number, now: number): void {
      if (!asked) return
      largest = Math.min(size, LARGEST)
      until = now + GOOD_FOR
      if (size === 0) return
      silence = ASK_EVERY
      askAt = Math.min(askAt, now + ASK_EVERY)
    },
  }
}
