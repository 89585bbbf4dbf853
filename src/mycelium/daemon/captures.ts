/** Who looks at frames: each at those of one peer, or of all. CHANGE says to the packet thread what is wanted of it. */
export function createCaptures(change: (on: boolean, peer: string | undefined) => Promise<void>) {
  const all = new Set<{ peer: string | undefined; take: (line: string) => void }>()
  const changed = (): Promise<void> => {
    const [only, ...more] = new Set([...all].map(({ peer }) => peer))
    return change(all.size > 0, more.length > 0 ? undefined : only)
  }
  return {
    /** A frame that came from or went to FROM. */
    frame(from: string, line: string): void {
      for (const { peer, take } of all) if (peer === undefined || peer === from) take(line)
    },

    async add(peer: string | undefined, take: (line: string) => void): Promise<() => Promise<void>> {
      const one = { peer, take }
      all.add(one)
      await changed()
      return async () => {
        all.delete(one)
        // a node that has ended captures nothing
        await changed().catch(() => {})
      }
    },
  }
}
