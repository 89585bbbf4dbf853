/** Merges calls for one key while the first is under way. */
export function merged<T>(): (key: string, act: () => Promise<T>) => Promise<T> {
  const running = new Map<string, Promise<T>>()
  return (key, act) => {
    const known = running.get(key)
    if (known) return known
    const mine = act().finally(() => running.delete(key))
    running.set(key, mine)
    return mine
  }
}

/** Runs calls for one key one after the other, in the order they came; one that fails is no matter of the next. */
export function inTurn(): <T>(key: string, act: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>()
  return (key, act) => {
    const before = last.get(key)
    const mine = before ? before.then(act, act) : act()
    last.set(key, mine)
    const done = () => {
      if (last.get(key) === mine) last.delete(key)
    }
    mine.then(done, done)
    return mine
  }
}
