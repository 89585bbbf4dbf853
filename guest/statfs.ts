import { close, O, open, sys } from './native.ts'

/** A file system's blocks, as `df` counts them; undefined where PATH cannot be opened. */
export type FileSystem = { blockSize: number; blocks: number; free: number; available: number }

export function fileSystem(path: string): FileSystem | undefined {
  const fd = open(path, O.RDONLY)
  if (fd < 0) return undefined
  // struct statfs: type, bsize, blocks, bfree, bavail, … each 8 bytes on 64-bit machines
  const info = new Uint8Array(120)
  const result = sys('fstatfs', fd, info)
  close(fd)
  if (result < 0) return undefined
  const view = new DataView(info.buffer)
  const at = (offset: number) => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32
  return { blockSize: at(8), blocks: at(16), free: at(24), available: at(32) }
}
