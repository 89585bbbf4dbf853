import type { AskedCard, OpenedCard } from './ports.ts'

/** Has cards opened on another thread, under a number each: ASK sends the request, `opened` is to be called with the answer. */
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
