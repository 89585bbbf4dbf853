import { constants } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { ZosError } from '#codec'
import { syncDirectory } from '#sys'

const HEAD = 8
/** One frame holds one block: 60 M gas of calldata is below this. */
export const FRAME_LIMIT = 32 << 20

export type Frame = { payload: Buffer; next: number }

/**
 * Append-only file of frames: u32 length, u32 CRC-32 of the payload (both little-endian), payload. An append is one
 * write and one fsync, so after a crash only the last frame can be torn; it was never acknowledged and is dropped.
 * A bad frame with good bytes behind it is damage, not a torn tail, and is refused.
 */
export class Journal implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #path: string
  #end: number
  #broken = false

  private constructor(file: FileHandle, path: string, end: number) {
    this.#file = file
    this.#path = path
    this.#end = end
  }

  static async open(path: string): Promise<Journal> {
    await mkdir(dirname(path), { recursive: true })
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600)
    await syncDirectory(dirname(path))
    return new Journal(file, path, 0)
  }

  get end(): number {
    return this.#end
  }

  /** Walks the frames from byte FROM on, drops a torn tail, and leaves the journal ready to append after the last. */
  async *recover(from: number): AsyncGenerator<Frame> {
    const { size } = await this.#file.stat()
    if (from > size) {
      throw new ZosError(
        `Open chain journal "${this.#path}": ${size} bytes, but ${from} were applied: the journal lost its end; restore it from a copy`,
        { code: 'journal-short', kind: 'node', details: { size, applied: from } },
      )
    }
    this.#end = from
    while (this.#end < size) {
      const frame = await this.#read(this.#end, size)
      if (!frame) break
      this.#end = frame.next
      yield frame
    }
    if (this.#end < size) {
      await this.#file.truncate(this.#end)
      await this.#file.sync()
    }
  }

  async #read(at: number, size: number): Promise<Frame | undefined> {
    const head = Buffer.alloc(HEAD)
    await this.#file.read(head, 0, HEAD, at)
    const length = head.readUInt32LE(0)
    if (at + HEAD > size || at + HEAD + length > size) return this.#torn(at, size, length)
    const payload = Buffer.alloc(length)
    await this.#file.read(payload, 0, length, at + HEAD)
    if (length > 0 && crc32(payload) === head.readUInt32LE(4)) return { payload, next: at + HEAD + length }
    return this.#torn(at, size, length)
  }

  /** A torn frame reaches exactly to the end, past it, or is zeros that were never written. */
  async #torn(at: number, size: number, length: number): Promise<undefined> {
    if (length > 0 && length <= FRAME_LIMIT && at + HEAD + length >= size) return undefined
    if (size - at <= HEAD + FRAME_LIMIT) {
      const rest = Buffer.alloc(size - at)
      await this.#file.read(rest, 0, rest.length, at)
      if (rest.length < HEAD || rest.every((b) => b === 0)) return undefined
    }
    throw new ZosError(
      `Open chain journal "${this.#path}": damaged at byte ${at}, with ${size - at} bytes behind it; restore it from a copy`,
      { code: 'journal-damaged', kind: 'node', details: { at, size } },
    )
  }

  /** Returns when the payload is on the disk; then it counts. After a failed write nothing of it is left. */
  async append(payload: Uint8Array): Promise<void> {
    if (this.#broken) {
      throw new ZosError(`Append to "${this.#path}": an earlier write failed; restart the chain`, {
        code: 'journal-broken',
        kind: 'node',
      })
    }
    const frame = Buffer.alloc(HEAD + payload.length)
    frame.writeUInt32LE(payload.length, 0)
    frame.writeUInt32LE(crc32(payload), 4)
    frame.set(payload, HEAD)
    try {
      const { bytesWritten } = await this.#file.write(frame, 0, frame.length, this.#end)
      if (bytesWritten !== frame.length) throw new Error(`${bytesWritten} of ${frame.length} bytes written`)
      await this.#file.datasync()
    } catch (cause) {
      this.#broken = true
      try {
        await this.#file.truncate(this.#end)
        await this.#file.sync()
        this.#broken = false
      } catch {
        // stays broken: what is on the disk is unknown until the next start reads it
      }
      throw new ZosError(`Append to "${this.#path}": ${(cause as Error).message}`, {
        code: 'journal-write',
        kind: 'node',
        cause,
      })
    }
    this.#end += frame.length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }
}
