/** One entry of an initramfs. */
export type CpioEntry = {
  path: string
  mode: number
  data?: Uint8Array /** Of a device node. */
  major?: number
  minor?: number
}

const hex = (n: number): string => n.toString(16).padStart(8, '0')
const pad = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4)

/** A cpio archive in `newc` format (kernel: early-userspace/buffer-format.rst). No times, no owners: same input, same bytes. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  const put = (entry: CpioEntry, inode: number) => {
    const name = Buffer.from(`${entry.path}\0`)
    const data = Buffer.from(entry.data ?? new Uint8Array(0))
    const fields = [
      inode,
      entry.mode,
      0,
      0,
      1,
      0,
      data.length,
      0,
      0,
      entry.major ?? 0,
      entry.minor ?? 0,
      name.length,
      0,
    ]
    const head = Buffer.concat([Buffer.from(`070701${fields.map(hex).join('')}`), name])
    parts.push(head, pad(head.length), data, pad(data.length))
  }
  for (const [i, entry] of entries.entries()) put(entry, i + 1)
  put({ path: 'TRAILER!!!', mode: 0 }, 0)
  return Buffer.concat(parts)
}
