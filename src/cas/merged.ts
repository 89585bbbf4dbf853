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
