import { closeSync, openSync, readSync } from 'node:fs'
import { ZosError } from '#codec'

/** The text of a file somebody names, of MOST bytes at most: "/dev/zero" has no end, and a pipe says nothing of its size. */
export function readText(file: string, most: number): string {
  const fd = openSync(file, 'r')
  try {
    const parts: Buffer[] = []
    for (let size = 0; ; ) {
      const part = Buffer.allocUnsafe(1 << 16)
      const n = readSync(fd, part)
      if (n === 0) return Buffer.concat(parts, size).toString('utf8')
      parts.push(part.subarray(0, n))
      size += n
      if (size > most) throw new ZosError(`it is longer than ${most} bytes`, { code: 'too-long' })
    }
  } finally {
    closeSync(fd)
  }
}
