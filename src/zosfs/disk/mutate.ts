// For fuzz tests: valid input with small changes.
import { noise } from './fixture.ts'

/** Inputs per fuzz test; the nightly run asks for more. */
export const FUZZ_RUNS = Number(process.env.ZOS_FUZZ ?? 5000)

/** BYTES with one to four of them changed, cut out or doubled, below LIMIT if given; SEED says which. */
export function mutate(bytes: Buffer, seed: number, limit = Number.POSITIVE_INFINITY): Buffer {
  const random = noise(64, seed)
  let out = Buffer.from(bytes)
  for (let n = 0; n <= random[0]! % 4; n++) {
    const at = random.readUInt32LE(4 + n * 12) % (Math.min(limit, out.length) + 1)
    const value = random[8 + n * 12]!
    const kind = random[9 + n * 12]! % 4
    if (kind === 0) out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + (value % 8))])
    else if (kind === 1) out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - (value % 8)))])
    else if (at < out.length) out[at] = kind === 2 ? value : out[at]! ^ (1 << (value % 8))
  }
  return out
}
