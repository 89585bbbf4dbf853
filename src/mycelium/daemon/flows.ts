/** Buckets of flows; two in one bucket share their fate, which costs a little delay and nothing else. */
const BUCKETS = 4096
/** A flow that sends less than this many bytes per millisecond, give or take a burst, is quiet. */
const LEAK = 100
const BURST = 6_000
/** A loud flow stays loud until it has paused: overtaking its own earlier packets would reorder it. */
const CEILING = 64_000

/** FNV-1a over the 32-bit words of BYTES[from, to). */
export function hashRange(bytes: Buffer, from: number, to: number, seed = 0x811c9dc5): number {
  let hash = seed
  for (let at = from; at + 4 <= to; at += 4) hash = Math.imul(hash ^ bytes.readInt32LE(at), 0x01000193)
  return hash ^ (hash >>> 15)
}

/** Tells quiet flows (a ping, a key press, a handshake) from those that fill queues, so that they may go first. */
export function createFlows() {
  const level = new Float64Array(BUCKETS)
  const seen = new Float64Array(BUCKETS)
  return {
    /** Counts a packet; true when its flow is quiet. */
    isQuiet(hash: number, length: number, now: number): boolean {
      const bucket = hash & (BUCKETS - 1)
      const drained = Math.max(0, level[bucket]! - (now - seen[bucket]!) * LEAK)
      seen[bucket] = now
      level[bucket] = Math.min(drained + length, CEILING)
      return drained + length < BURST
    },
  }
}
