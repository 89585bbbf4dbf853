import type { AskedCard, OpenedCard } from './ports.ts'

/** Cards that are opened on another thread; ASK hands each over by a number, `opened` is its answer. */
export function createAsking(ask: (id: number, card: AskedCard) => void) {
  const waiting = new Map<number, (card: OpenedCard) => void>()
  let last = 0
  return {
    openCard(card: AskedCard, done: (card: OpenedCard) => void): void {
      waiting.set(++last, done)
      ask(last, card)
    },
    opened(id: number, card: OpenedCard): void {
      waiting.get(id)?.(card)
      waiting.delete(id)
    },
  }
}
