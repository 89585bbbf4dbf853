/** Runs ACT on each item, at most AT_ONCE at a time; the first failure ends it and is thrown. */
export async function each<T>(
  items: Iterable<T>,
  atOnce: number,
  act: (item: T) => Promise<unknown>,
  signal?: AbortSignal,
): Promise<void> {
  const rest = items[Symbol.iterator]()
  let failed = false
  const work = async () => {
    for (let next = rest.next(); !next.done && !failed && !signal?.aborted; next = rest.next()) {
      try {
        await act(next.value)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}
