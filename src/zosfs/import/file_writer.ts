import { type ChunkId, isZero, leafHashes, zeroLeaf } from '#cas'
import { ZosError } from '#codec'
import { fsVerityDigest } from '../disk/verity.ts'
import { chunkSizeOf } from '../flist/layout.ts'
import { isPacked } from '../flist/packing.ts'
import { BLOCK } from '../types.ts'
import { checkSize, type Sink } from './sink.ts'
import type { FileData } from './tree.ts'

/** Receives one file's bytes in order; `finish` gives what came of it, complete once the sink is settled. */
export type FileWriter = {
  data(bytes: Buffer): Promise<void>
  /** COUNT zero bytes that nobody has to make. */
  gap(count: number): Promise<void>
  finish(): Promise<FileData>
}

/** A writer for a file of SIZE bytes; PATH is for messages. */
export function fileWriter(sink: Sink, size: number, path: string): FileWriter {
  const fail = (why: string): never => {
    throw new ZosError(`Import "${path}": ${why}`, { code: 'bad-entry', details: { path } })
  }
  checkSize(size, path)
  const chunkSize = chunkSizeOf(size)
  const chunks: (ChunkId | undefined)[] = []
  const leaves: Buffer[] = []
  let buffer: Buffer | undefined
  let filled = 0
  let got = 0
  let underWay = 0
  let finished: FileData | undefined

  const complete = () => {
    if (finished && underWay === 0) finished.fingerprint = fsVerityDigest(Buffer.concat(leaves), size)
  }
  const lengthOf = (index: number) => Math.min(chunkSize, size - index * chunkSize)
  const hole = (length: number) => {
    leaves.push(Buffer.alloc(Math.ceil(length / BLOCK) * 32, zeroLeaf))
    chunks.push(undefined)
  }
  const close = async () => {
    const bytes = buffer!
    buffer = undefined
    filled = 0
    if (isZero(bytes)) return hole(bytes.length)
    const index = chunks.length
    chunks.push(undefined)
    leaves.push(bytes) // its place; replaced when the hashes are there
    underWay++
    await sink.put(bytes, (id, hashes) => {
      chunks[index] = id
      leaves[index] = hashes
      underWay--
      complete()
    })
  }
  const take = async (count: number, fill: (into: Buffer, at: number, from: number, length: number) => void) => {
    got += count
    sink.tally.bytes += count
    if (got > size) fail(`it has more bytes than the ${size} announced`)
    let from = 0
    while (from < count) {
      buffer ??= Buffer.allocUnsafeSlow(isPacked(size) ? size : lengthOf(chunks.length))
      const length = Math.min(count - from, buffer.length - filled)
      fill(buffer, filled, from, length)
      filled += length
      from += length
      if (filled === buffer.length && !isPacked(size)) await close()
    }
  }

  return {
    data: (bytes) => take(bytes.length, (into, at, from, length) => bytes.copy(into, at, from, from + length)),
    async gap(count) {
      let left = count
      const step = async (length: number) => {
        await take(length, (into, at, _from, n) => into.fill(0, at, at + n))
        left -= length
      }
      if (isPacked(size)) return step(left)
      if (buffer) await step(Math.min(left, buffer.length - filled))
      while (left > 0 && left >= lengthOf(chunks.length)) {
        const length = lengthOf(chunks.length)
        if (length <= 0) fail(`it has more bytes than the ${size} announced`)
        hole(length)
        got += length
        sink.tally.bytes += length
        left -= length
      }
      if (left > 0) await step(left)
    },
    async finish() {
      if (got !== size) fail(`it ends after ${got} of ${size} bytes`)
      sink.tally.files++
      if (size === 0) return { size, fingerprint: fsVerityDigest(Buffer.alloc(0), 0), content: { kind: 'empty' } }
      if (isPacked(size)) {
        const hashes = leafHashes(buffer!)
        const content = { kind: 'small' as const, bytes: sink.spool.add(buffer!), leaves: hashes }
        return { size, fingerprint: fsVerityDigest(hashes, size), content }
      }
      finished = { size, fingerprint: Buffer.alloc(0), content: { kind: 'chunks', chunks } }
      complete()
      return finished
    },
  }
}
