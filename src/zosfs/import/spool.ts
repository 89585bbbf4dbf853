import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export type SpoolRef = { bytes: Buffer } | { at: number; length: number }

/** Keeps small files until the tree is whole: in memory up to a limit, then in a file that has no name. */
export type Spool = Disposable & {
  add(bytes: Buffer): SpoolRef
  read(ref: SpoolRef): Buffer
}

const MEMORY = 64 << 20

export function openSpool(temporary: string, memory = MEMORY): Spool {
  let held = 0
  let file: number | undefined
  let end = 0
  return {
    add(bytes) {
      if (held + bytes.length <= memory) {
        held += bytes.length
        return { bytes }
      }
      if (file === undefined) {
        mkdirSync(temporary, { recursive: true })
        const path = join(temporary, `spool-${randomBytes(6).toString('hex')}`)
        file = openSync(path, 'wx+', 0o600)
        unlinkSync(path) // gone with the process, however it ends
      }
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, end + at)
      const ref = { at: end, length: bytes.length }
      end += bytes.length
      return ref
    },
    read(ref) {
      if ('bytes' in ref) return ref.bytes
      const bytes = Buffer.allocUnsafe(ref.length)
      for (let at = 0; at < ref.length; ) at += readSync(file!, bytes, at, ref.length - at, ref.at + at)
      return bytes
    },
    [Symbol.dispose]() {
      if (file !== undefined) closeSync(file)
      file = undefined
    },
  }
}
