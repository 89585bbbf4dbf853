import type { Subnet } from '../address.ts'

/**
 * Who takes packets larger than the public network's: nodes of ours over paths of ours. Asked within the sealed body
 * (others drop the unknown type), in a frame whose third byte is PATH_MARK: our relays pass frames on as they are, others
 * write that byte anew as 0, so a marked question proves that every hop carries frames of any size.
 */
export const PATH_MARK = 1
export const PATH_MARK_AT = 2

/** Inner types of our own: `kind u8 | 0 | largest packet u16`, and `gso size u16 | 0 0 | packet`. */
export const CAPABILITY = 16
export const LARGE = 17
export const ASK = 0
export const ANSWER = 1
export const LARGE_HEADER = 4
/** What a frame's 16-bit length leaves for a packet. */
export const LARGEST = 0xffff - 32 - LARGE_HEADER

/** Milliseconds: an answer is good for this long and renewed well before, so that a path that changed is noticed. */
const GOOD_FOR = 6_000
const ASK_EVERY = 2_000
const SILENT_MAX = 60_000
const LIMIT = 4_096

type State = { largest: number; until: number; askAt: number; silence: number }

export function createLarge() {
  const states = new Map<Subnet, State>()
  return {
    /** The largest packet SUBNET takes now; 0 while unknown. `ask` is called when it is time to ask. */
    size(subnet: Subnet, now: number, ask: () => void): number {
      let state = states.get(subnet)
      if (!state) {
        if (states.size >= LIMIT) states.delete(states.keys().next().value!)
        state = { largest: 0, until: 0, askAt: 0, silence: ASK_EVERY }
        states.set(subnet, state)
      }
      if (now >= state.askAt) {
        state.askAt = now + state.silence
        state.silence = Math.min(state.silence * 2, SILENT_MAX)
        ask()
      }
      return now < state.until ? state.largest : 0
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
