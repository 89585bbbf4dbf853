/** Bytes that replies under way may take, over all connections of an export. */
export type Budget = {
  /** True while one more request may begin; it may be as long as any. */
  free(): boolean
  take(bytes: number): void
  give(bytes: number): void
  /** Calls AGAIN when there is room; again and again until the returned function is called. */
  onRoom(again: () => void): () => void
}

export function budget(limit: number): Budget {
  let used = 0
  const waiting = new Set<() => void>()
  return {
    free: () => used < limit,
    take: (bytes) => {
      used += bytes
    },
    give: (bytes) => {
      const full = used >= limit
      used -= bytes
      if (full && used < limit) for (const again of [...waiting]) again()
    },
    onRoom: (again) => {
      waiting.add(again)
      return () => waiting.delete(again)
    },
  }
}
