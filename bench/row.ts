/** What one run of a benchmark measured: us and a peer in the same run on the same input. */
export type Figures = {
  ours: number
  peer: number
  peerName: string
  unit: string
  better: 'lower' | 'higher'
  /** The bar: ours ÷ peer must not be worse. docs/benchmarks.md says where each comes from. */
  must: number
  /** Further figures worth printing. */
  notes: Record<string, string | number>
}

export type Benchmark = {
  name: string
  /** What is claimed, in words. */
  claim: string
  /** What has to be there for it and is not, in words. */
  lacks?: () => string | undefined
  run: () => Promise<Figures>
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const mid = sorted.length >> 1
  return sorted.length % 2 ? sorted[mid]! : (sorted[mid - 1]! + sorted[mid]!) / 2
}
