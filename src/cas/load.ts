import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { CHUNK_LIMIT, type Opened, open } from './stored.ts'

/** What a file holds, and how many bytes it is stored in. */
export type Loaded = Opened & { stored: number }

/** One object is read at a time: a thread needs no new buffer for each. Longer ones, which are blobs, get their own. */
const scratch = Buffer.allocUnsafeSlow(CHUNK_LIMIT + 2)

/** The stored object in the file PATH, checked against ID; undefined when the file is not there or cannot be read. */
export function load(id: string, path: string): Loaded | undefined {
  let stored: Buffer
  try {
    stored = read(path)
  } catch {
    return undefined
  }
  const opened = open(id, stored)
  if (!opened.ok) return { ...opened, stored: stored.length }
  // it is handed over with all memory behind it, which is this thread's scratch or what it was decoded into
  const { plain } = opened
  const own = plain.buffer.byteLength === plain.length ? plain : Buffer.from(new Uint8Array(plain).buffer)
  return { ...opened, plain: own, stored: stored.length }
}

function read(path: string): Buffer {
  const file = openSync(path, 'r')
  try {
    let length = 0
    for (;;) {
      const more = readSync(file, scratch, length, scratch.length - length, length)
      length += more
      if (length === scratch.length) return readFileSync(path)
      if (more === 0) return scratch.subarray(0, length)
    }
  } finally {
    closeSync(file)
  }
}
