import { open } from 'node:fs/promises'
import { BLOCK } from '../types.ts'
import { type Disk, newReader } from './disk.ts'

const STEP = 1 << 20

/** Writes all of DISK to the new file PATH, holes left out, and makes it last. */
export async function dumpDisk(disk: Disk, path: string): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  const reader = newReader()
  try {
    const size = disk.blocks * BLOCK
    for (let at = 0; at < size; at += STEP) {
      let to = at
      for (const piece of await disk.read(at, Math.min(STEP, size - at), { reader })) {
        if (typeof piece !== 'number') await file.write(piece, 0, piece.length, to)
        to += typeof piece === 'number' ? piece : piece.length
      }
    }
    await file.truncate(size)
    await file.datasync()
  } finally {
    await file.close()
  }
}
