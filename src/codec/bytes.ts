import { ZosError } from './error.ts'

/** Appends fixed-width and variable-length values to a growing buffer. Little-endian unless named otherwise. */
export class ByteWriter {
  #buffer: Buffer
  #length = 0

  constructor(capacity = 4096) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#length
  }

  #room(bytes: number): number {
    const at = this.#length
    const need = at + bytes
    if (need > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(need, this.#buffer.length * 2))
      this.#buffer.copy(grown, 0, 0, at)
      this.#buffer = grown
    }
    this.#length = need
    return at
  }

  u8(value: number): this {
    const at = this.#room(1)
    this.#buffer.writeUInt8(value, at)
    return this
  }

  u16(value: number): this {
    const at = this.#room(2)
    this.#buffer.writeUInt16LE(value, at)
    return this
  }

  u32(value: number): this {
    const at = this.#room(4)
    this.#buffer.writeUInt32LE(value, at)
    return this
  }

  u64(value: bigint): this {
    const at = this.#room(8)
    this.#buffer.writeBigUInt64LE(value, at)
    return this
  }

  i64(value: bigint): this {
    const at = this.#room(8)
    this.#buffer.writeBigInt64LE(value, at)
    return this
  }

  /** LEB128, unsigned; VALUE must be a safe integer. */
  varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ZosError(`Encode varint "${value}": not a non-negative safe integer`, {
        code: 'bad-varint',
        kind: 'bug',
      })
    }
    let rest = value
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    return this.u8(rest)
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.length)
    this.#buffer.set(value, at)
    return this
  }

  /** A varint length, then the bytes. */
  blob(value: Uint8Array): this {
    return this.varint(value.length).bytes(value)
  }

  /** A view of what was written; valid until the next write. */
  done(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
}

/** Reads what ByteWriter wrote; each read is bounds-checked and names WHAT was being decoded. */
export class ByteReader {
  readonly #buffer: Buffer
  readonly #what: string
  #at = 0

  constructor(bytes: Uint8Array, what: string) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#what = what
  }

  get offset(): number {
    return this.#at
  }

  get left(): number {
    return this.#buffer.length - this.#at
  }

  fail(reason: string): never {
    throw new ZosError(`Decode ${this.#what} at byte ${this.#at}: ${reason}`, {
      code: 'bad-encoding',
      details: { what: this.#what, offset: this.#at },
    })
  }

  #take(bytes: number): number {
    if (bytes > this.left) this.fail(`${bytes} bytes wanted, ${this.left} left`)
    const at = this.#at
    this.#at += bytes
    return at
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1))
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#take(2))
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4))
  }

  u64(): bigint {
    return this.#buffer.readBigUInt64LE(this.#take(8))
  }

  i64(): bigint {
    return this.#buffer.readBigInt64LE(this.#take(8))
  }

  /** Refuses encodings that are too long or not the shortest, so that one value has one form. */
  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; ; i++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) this.fail('varint above 2^53')
      if (byte < 0x80) {
        if (byte === 0 && i > 0) this.fail('varint is not in its shortest form')
        return value
      }
      scale *= 0x80
      if (i === 7) this.fail('varint longer than 8 bytes')
    }
  }

  /** A view into the source, not a copy. */
  bytes(length: number): Buffer {
    const at = this.#take(length)
    return this.#buffer.subarray(at, at + length)
  }

  /** A varint length of at most LIMIT, then that many bytes (a view). */
  blob(limit = 0x7fffffff): Buffer {
    const length = this.varint()
    if (length > limit) this.fail(`length ${length} above the limit ${limit}`)
    return this.bytes(length)
  }

  end(): void {
    if (this.left > 0) this.fail(`${this.left} bytes too many`)
  }
}
