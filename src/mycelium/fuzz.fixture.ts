import { randomBytes, randomInt } from 'node:crypto'

/** Inputs to each decoder; the nightly run asks for more. */
export const FUZZ_RUNS = Number(process.env.ZOS_FUZZ ?? 20_000)

/** BYTES with up to three of its first LIMIT changed and, one time in eight, cut off or with noise behind it. */
export function changed(bytes: Buffer, limit = bytes.length): Buffer {
  const out = Buffer.from(bytes)
  for (let k = randomInt(4); k > 0 && out.length > 0; k--) out[randomInt(Math.min(limit, out.length))] = randomInt(256)
  const how = randomInt(16)
  if (how === 0) return out.subarray(0, randomInt(out.length + 1))
  return how === 1 ? Buffer.concat([out, randomBytes(randomInt(40))]) : out
}
