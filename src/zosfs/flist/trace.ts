/** Extents per trace: 512 MiB of 128 KiB chunks, more than any start reads. */
const LONGEST = 4096
const MAGIC = Buffer.from('zfl-trace/1\n')
/** Bytes of the longest trace. */
export const TRACE_LIMIT = MAGIC.length + 4 * LONGEST

/** The extents of an image's disk in the order in which starts first touched them, at most LONGEST of them. */
export function encodeTrace(order: readonly number[]): Buffer {
  const kept = order.slice(0, LONGEST)
  const bytes = Buffer.alloc(MAGIC.length + 4 * kept.length)
  bytes.set(MAGIC)
  kept.forEach((n, k) => {
    bytes.writeUInt32LE(n, MAGIC.length + 4 * k)
  })
  return bytes
}

/** Anybody may have written it: undefined for what is no trace. */
export function decodeTrace(bytes: Buffer): number[] | undefined {
  const body = bytes.subarray(MAGIC.length)
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC) || body.length % 4 !== 0 || body.length > 4 * LONGEST)
    return undefined
  return Array.from({ length: body.length / 4 }, (_, n) => body.readUInt32LE(4 * n))
}
