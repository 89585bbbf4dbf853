import { GcmContext } from '#sys'
import { INNER_HEADER, INNER_VERSION, NONCE, TAG, writeInnerHeader } from '../wire/seal.ts'
import type { TransportKeys } from './noise.ts'
import { createReplayWindow } from './replay-window.ts'

/**
 * The keys of one handshake: body = ciphertext of (header[4] | payload) | tag[16] | index u32 | counter u64. As long as
 * the legacy form and laid out like it; the index, chosen by who receives, stands where that has its random nonce.
 */
const INDEX = 4
/** Milliseconds, WireGuard's (whitepaper §6.1). */
const REKEY_AFTER = 120_000
const REJECT_AFTER = 180_000
/**
 * Messages and bytes under one key. AES-GCM may be fed 2^34.5 blocks before an attacker's advantage reaches 2^-57
 * (RFC 8446 §5.5); new keys are made at a quarter of that and none is used beyond half.
 */
export type Limits = { messages: number; bytes: number }
const REJECT_MESSAGES = 2 ** 40
const REKEY: Limits = { messages: 2 ** 32, bytes: 2 ** 36 }
const REJECT: Limits = { messages: REJECT_MESSAGES, bytes: 2 ** 37 }

/** Why a body was not opened. */
export const NOT_AUTHENTIC = -1
export const REPLAYED = -2

export class Keypair implements Disposable {
  /** Signed 32 bits: V8 makes an object of a larger number wherever it is handed on. */
  readonly localIndex: number
  readonly remoteIndex: number
  readonly weInitiated: boolean
  readonly createdAt: number
  readonly #encrypt: GcmContext
  readonly #decrypt: GcmContext
  readonly #sendKey: Buffer
  #ownDecrypt: GcmContext | undefined
  readonly #rekey: Limits
  readonly #reject: Limits
  readonly #window = createReplayWindow()
  readonly #nonce = Buffer.alloc(NONCE)
  #counter = 0
  #bytes = 0

  /** REKEY, REJECT: in tests, lower ones. */
  constructor(
    keys: TransportKeys,
    options: { local: number; remote: number; weInitiated: boolean; now: number; rekey?: Limits; reject?: Limits },
  ) {
    this.localIndex = options.local | 0
    this.remoteIndex = options.remote | 0
    this.weInitiated = options.weInitiated
    this.createdAt = options.now
    this.#rekey = options.rekey ?? REKEY
    this.#reject = options.reject ?? REJECT
    this.#encrypt = new GcmContext(keys.send, 'encrypt')
    this.#decrypt = new GcmContext(keys.receive, 'decrypt')
    this.#sendKey = keys.send
    keys.receive.fill(0)
  }

  isDead(now: number): boolean {
    return now - this.createdAt >= REJECT_AFTER || this.#isBeyond(this.#reject)
  }

  isOld(now: number): boolean {
    return now - this.createdAt >= REKEY_AFTER || this.isWorn
  }

  /** So much was sealed that new keys are due: the other end cannot know, whoever of the two made these. */
  get isWorn(): boolean {
    return this.#isBeyond(this.#rekey)
  }

  #isBeyond({ messages, bytes }: Limits): boolean {
    return this.#counter >= messages || this.#bytes >= bytes
  }

  /** As `Sealer.seal`: the four bytes before FROM are overwritten by the inner header. */
  seal(type: number, input: Buffer, from: number, length: number, output: Buffer, to: number): void {
    const start = from - INNER_HEADER
    writeInnerHeader(input, start, type)
    const inner = length + INNER_HEADER
    const end = to + inner
    const nonceAt = end + TAG
    const counter = this.#counter++
    this.#bytes += inner
    output.writeInt32BE(this.remoteIndex, nonceAt)
    output.writeUInt32BE(Math.floor(counter / 2 ** 32), nonceAt + INDEX)
    output.writeUInt32BE(counter >>> 0, nonceAt + INDEX + 4)
    output.copy(this.#nonce, INDEX, nonceAt + INDEX, nonceAt + NONCE)
    this.#encrypt.run(this.#nonce, 0, input, start, inner, output, to, output, end)
  }

  /** As `Sealer.open`; refuses what came before. */
  open(body: Buffer, at: number, length: number, output: Buffer, to: number): number {
    const inner = length - TAG - NONCE
    if (inner < INNER_HEADER) return NOT_AUTHENTIC
    const nonceAt = at + inner + TAG
    const counter = body.readUInt32BE(nonceAt + INDEX) * 2 ** 32 + body.readUInt32BE(nonceAt + INDEX + 4)
    if (counter >= REJECT_MESSAGES) return NOT_AUTHENTIC
    if (!this.#window.isFresh(counter)) return REPLAYED
    body.copy(this.#nonce, INDEX, nonceAt + INDEX, nonceAt + NONCE)
    if (!this.#decrypt.run(this.#nonce, 0, body, at, inner, output, to, body, at + inner)) return NOT_AUTHENTIC
    if (output[to] !== INNER_VERSION) return NOT_AUTHENTIC
    this.#window.accept(counter)
    return inner - INNER_HEADER
  }

  /** Opens a body sealed by ourselves, which an error quotes. */
  openOwn(body: Buffer, output: Buffer, to: number): number {
    const inner = body.length - TAG - NONCE
    if (inner < INNER_HEADER) return NOT_AUTHENTIC
    this.#ownDecrypt ??= new GcmContext(this.#sendKey, 'decrypt')
    const nonce = Buffer.concat([Buffer.alloc(INDEX), body.subarray(body.length - NONCE + INDEX)])
    return this.#ownDecrypt.run(nonce, 0, body, 0, inner, output, to, body, inner)
      ? inner - INNER_HEADER
      : NOT_AUTHENTIC
  }

  [Symbol.dispose](): void {
    this.#encrypt[Symbol.dispose]()
    this.#decrypt[Symbol.dispose]()
    this.#ownDecrypt?.[Symbol.dispose]()
    this.#sendKey.fill(0)
  }
}

/** Whom a body of LENGTH bytes at AT says it is for: the index, signed, where the legacy form has random bytes; 0 for none. */
export const indexOf = (body: Buffer, at: number, length: number): number =>
  length >= NONCE ? body.readInt32BE(at + length - NONCE) : 0
