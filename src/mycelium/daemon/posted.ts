/** What a thread posted, with the Buffers it had: they come as plain bytes. */
export const withBuffers = <T extends object>(posted: T): T =>
  Object.fromEntries(
    Object.entries(posted).map(([name, value]) => [
      name,
      value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value,
    ]),
  ) as T
