import { randomFillSync } from 'node:crypto'
import { GcmContext } from '#sys'

/**
 * Body of a data frame: ciphertext of (header[4] | payload) | tag[16] | nonce[12], AES-256-GCM without associated data
 * under the raw X25519 secret of sender and receiver, the same in both directions.
 */
export const INNER_HEADER = 4
export const INNER_VERSION = 1
export const PACKET = 0
export const MESSAGE = 1
export const OOB_ICMP = 2
/** Ours: a piece of a stream between two nodes. */
export const STREAM = 19
export const TAG = 16
export const NONCE = 12
/** What sealing adds to a payload. */
export const SEAL_OVERHEAD = INNER_HEADER + TAG + NONCE

/** Random nonces are drawn in bulk: one call per packet costs more than the packet's encryption. */
const nonces = Buffer.alloc(NONCE * 1024)
let nonceAt = nonces.length

export function writeInnerHeader(bytes: Buffer, at: number, type: number): void {
  bytes[at] = INNER_VERSION
  bytes[at + 1] = type
  bytes[at + 2] = 0
  bytes[at + 3] = 0
}

/** Both directions of one pair of keys. */
export class Sealer implements Disposable {
  readonly #encrypt: GcmContext
  readonly #decrypt: GcmContext

  constructor(secret: Uint8Array) {
    this.#encrypt = new GcmContext(secret, 'encrypt')
    this.#decrypt = new GcmContext(secret, 'decrypt')
  }

  /**
   * Seals INPUT[from, from+length) as a payload of TYPE to OUTPUT[to, …): length + SEAL_OVERHEAD bytes. The four bytes
   * before FROM are overwritten with the inner header, so that payload and header are one range.
   */
  seal(type: number, input: Buffer, from: number, length: number, output: Buffer, to: number): void {
    if (nonceAt === nonces.length) {
      randomFillSync(nonces)
      nonceAt = 0
    }
    const start = from - INNER_HEADER
    writeInnerHeader(input, start, type)
    const inner = length + INNER_HEADER
    const end = to + inner
    nonces.copy(output, end + TAG, nonceAt, nonceAt + NONCE)
    nonceAt += NONCE
    this.#encrypt.run(output, end + TAG, input, start, inner, output, to, output, end)
  }

  /**
   * Opens BODY[at, at+length) into OUTPUT at TO: header first. Returns the payload's length, or -1 when it was not
   * sealed by the other side of this pair or is of another version.
   */
  open(body: Buffer, at: number, length: number, output: Buffer, to: number): number {
    const inner = length - TAG - NONCE
    if (inner < INNER_HEADER) return -1
    const tagAt = at + inner
    if (!this.#decrypt.run(body, tagAt + TAG, body, at, inner, output, to, body, tagAt)) return -1
    return output[to] === INNER_VERSION ? inner - INNER_HEADER : -1
  }

  [Symbol.dispose](): void {
    this.#encrypt[Symbol.dispose]()
    this.#decrypt[Symbol.dispose]()
  }
}
