import type { Subnet } from '../address.ts'

import { LARGEST } from '../wire/large.ts'

/** Milliseconds: an answer is good for this long and renewed well before, so that a path that changed is noticed. */
const GOOD_FOR = 6_000
const ASK_EVERY = 2_000
const SILENT_MAX = 60_000
const LIMIT = 4_096
/** An answer that does not come within this is none. */
const PATIENCE = 500
/** Asked, and the answer may still come: what is too large for the public network is worth sending again. */
export const UNKNOWN = -1

type State = { largest: number; until: number; askAt: number; askedAt: number; silence: number }

export type Large = ReturnType<typeof createLarge>

/** Which nodes take packets larger than the public network's. */
export function createLarge() {
  const states = new Map<Subnet, State>()
  return {
    /** The largest packet SUBNET takes now; 0 when it does not say, UNKNOWN while it may yet. `ask` is called when it is time to ask. */
    size(subnet: Subnet, now: number, ask: () => void): number {
      let state = states.get(subnet)
      if (!state) {
        if (states.size >= LIMIT) states.delete(states.keys().next().value!)
        state = { largest: 0, until: 0, askAt: 0, askedAt: 0, silence: ASK_EVERY }
        states.set(subnet, state)
      }
      if (now >= state.askAt) {
        state.askAt = now + state.silence
        if (now >= state.until) state.askedAt = now
        state.silence = Math.min(state.silence * 2, SILENT_MAX)
        ask()
      }
      if (now < state.until) return state.largest
      return now < state.askedAt + PATIENCE ? UNKNOWN : 0
    },
    /** SUBNET answered: packets up to LARGEST are welcome, 0 when the path cannot. Unasked answers are ignored. */
    answered(subnet: Subnet, largest: number, now: number): void {
      const state = states.get(subnet)
      if (!state) return
      state.largest = Math.min(largest, LARGEST)
      state.until = now + GOOD_FOR
      if (largest === 0) return
      state.silence = ASK_EVERY
      state.askAt = Math.min(state.askAt, now + ASK_EVERY)
    },
  }
}
