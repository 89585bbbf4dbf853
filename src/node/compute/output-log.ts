import { EventEmitter } from 'node:events'
import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync, renameSync, writevSync } from 'node:fs'
import { diskFull, isFull } from './full.ts'

export type OutputRecord = {
  /** 1 standard output, 2 standard error. */
  stream: 1 | 2
  /** Bytes of output before this record, both streams together, since the workload was created. */
  offset: number
  /** Unix milliseconds when it arrived. */
  time: number
  bytes: Buffer
}

/** stream u8, length u32, offset u64, time f64, all little-endian. */
const HEADER = 21
/** Read at once to find records: many that are small, and little of one that is large. */
const PIECE = 4096
/** A file reaches this size, then becomes `output.log.1`; the one before that goes. */
const ROTATE = 512 << 20

/**
 * A workload's output on disk: appended before it is acknowledged to the guest, so that a killed daemon loses nothing
 * and takes up at `end` without doubling. A torn last record is cut off on opening: the guest sends it again.
 */
export class OutputLog {
  readonly #path: string
  #fd: number
  #size: number
  #end: number
  readonly #events = new EventEmitter().setMaxListeners(0)

  constructor(path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a+', 0o600)
    const found = lastWhole(this.#fd, existsSync(`${path}.1`) ? endOf(`${path}.1`) : 0)
    ftruncateSync(this.#fd, found.size)
    this.#size = found.size
    this.#end = found.end
  }

  /** Offset of the next byte to come. */
  get end(): number {
    return this.#end
  }

  /**
   * Writes what is new of RECORD, whole or not at all: a guest that did not see an acknowledgement sends again. Throws
   * `disk-full` when there is no room for it.
   */
  append(stream: 1 | 2, offset: number, bytes: Buffer): void {
    const known = this.#end - offset
    const fresh = known > 0 ? bytes.subarray(known) : bytes
    if (fresh.length === 0) return
    if (this.#size > ROTATE) this.#rotate()
    const record: OutputRecord = { stream, offset: this.#end, time: Date.now(), bytes: fresh }
    const header = Buffer.allocUnsafe(HEADER)
    header.writeUInt8(stream, 0)
    header.writeUInt32LE(fresh.length, 1)
    header.writeBigUInt64LE(BigInt(record.offset), 5)
    header.writeDoubleLE(record.time, 13)
    this.#write([header, fresh])
    this.#size += HEADER + fresh.length
    this.#end += fresh.length
    this.#events.emit('record', record)
  }

  /** A disk that fills up takes the beginning of a record: that is taken back. */
  #write(parts: Buffer[]): void {
    const wanted = parts.reduce((sum, part) => sum + part.length, 0)
    let cause: unknown
    try {
      if (writevSync(this.#fd, parts) === wanted) return
    } catch (error) {
      cause = error
    }
    ftruncateSync(this.#fd, this.#size)
    if (cause !== undefined && !isFull(cause)) throw cause
    throw diskFull(`Keep output in "${this.#path}"`, cause)
  }

  #rotate(): void {
    renameSync(this.#path, `${this.#path}.1`)
    closeSync(this.#fd)
    this.#fd = openSync(this.#path, 'a+', 0o600)
    this.#size = 0
  }

  /** Calls LISTENER with each record appended from now on; returns how to stop. */
  follow(listener: (record: OutputRecord) => void): () => void {
    this.#events.on('record', listener)
    return () => this.#events.off('record', listener)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** The records of PATH and of the file rotated before it, oldest first. */
export function* readOutput(path: string): Generator<OutputRecord> {
  for (const file of [`${path}.1`, path]) {
    if (!existsSync(file)) continue
    const fd = openSync(file, 'r')
    try {
      yield* recordsOf(fd)
    } finally {
      closeSync(fd)
    }
  }
}

function* recordsOf(fd: number): Generator<OutputRecord> {
  const header = Buffer.alloc(HEADER)
  for (let at = 0; readSync(fd, header, 0, HEADER, at) === HEADER; ) {
    const bytes = Buffer.alloc(header.readUInt32LE(1))
    if (readSync(fd, bytes, 0, bytes.length, at + HEADER) !== bytes.length) return
    yield {
      stream: header[0] === 2 ? 2 : 1,
      offset: Number(header.readBigUInt64LE(5)),
      time: header.readDoubleLE(13),
      bytes,
    }
    at += HEADER + bytes.length
  }
}

/** Size up to the last whole record, and the offset after it; BEFORE when there is none. */
function lastWhole(fd: number, before: number): { size: number; end: number } {
  const total = fstatSync(fd).size
  const piece = Buffer.alloc(PIECE)
  let from = 0
  let held = 0
  let size = 0
  let end = before
  while (size + HEADER <= total) {
    if (size + HEADER > from + held) {
      from = size
      held = readSync(fd, piece, 0, PIECE, from)
      if (held < HEADER) break
    }
    const at = size - from
    const length = piece.readUInt32LE(at + 1)
    if (size + HEADER + length > total) break
    end = Number(piece.readBigUInt64LE(at + 5)) + length
    size += HEADER + length
  }
  return { size, end }
}

function endOf(path: string): number {
  const fd = openSync(path, 'r')
  try {
    return lastWhole(fd, 0).end
  } finally {
    closeSync(fd)
  }
}
