import { dlopen } from 'node:ffi'
import { ZosError } from '#codec'
import { bounce, checkRange, locate, makeWords, scratch } from './ffi-memory.ts'

/**
 * The OpenSSL inside Node, for one packet after another under one key: node:crypto makes an object for each. Numbers are declared
 * as pointers too: a call whose arguments are all of one kind is compiled into 40 ns, one of both kinds takes 500 (Node 26.10,
 * measured). C takes the lower half of the register where it wants an int.
 */
const { functions: given } = dlopen(null, {
  EVP_CIPHER_CTX_ctrl: { arguments: ['pointer', 'pointer', 'pointer', 'pointer'], return: 'i32' },
  EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
  EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
  EVP_CipherFinal_ex: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
  EVP_CipherInit_ex: {
    arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'pointer'],
    return: 'i32',
  },
  EVP_CipherUpdate: { arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer'], return: 'i32' },
  EVP_aes_256_gcm: { arguments: [], return: 'pointer' },
})
/** As in `ffi.ts`. */
const evp = { ...given }
/** openssl/evp.h: EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG */
const GET_TAG = 0x10n
const SET_TAG = 0x11n
const TAG_SIZE = 16
const TAG_LENGTH = 16n
const NONCE_SIZE = 12
const KEY_SIZE = 32
const NOTHING = 0n
/** The largest body of a frame, and what lies before it. */
const LARGEST = (64 << 10) + 64

/** Lent to each call, so that it makes no object for them: nonce, tag, key and how much was written. */
const small = scratch(128)
const nonceAt = BigInt(small.at)
const TAG_AT = 16
const tagAt = BigInt(small.at + TAG_AT)
const KEY_AT = 64
const writtenAt = BigInt(small.at + 40)
const algorithm = evp.EVP_aes_256_gcm() as bigint
/** Where a body goes and comes from, and its length. */
const words = makeWords(3)
const { whole, halves } = words
const [TO, FROM, LENGTH] = [0, 1, 2]
/** Through these goes what lies in memory with no known address. */
const bounceIn = bounce(LARGEST)
const bounceOut = bounce(LARGEST)

/** One direction of AES-256-GCM under one key. Not for two threads at once. */
export class GcmContext implements Disposable {
  readonly #encrypt: 0n | 1n
  #context: bigint

  constructor(key: Uint8Array, direction: 'encrypt' | 'decrypt') {
    if (key.length !== KEY_SIZE) throw new RangeError(`AES-256 key of ${key.length} bytes`)
    this.#encrypt = direction === 'encrypt' ? 1n : 0n
    this.#context = evp.EVP_CIPHER_CTX_new() as bigint
    small.bytes.set(key, KEY_AT)
    const keyAt = BigInt(small.at + KEY_AT)
    const made = evp.EVP_CipherInit_ex(this.#context, algorithm, NOTHING, keyAt, NOTHING, this.#encrypt)
    small.bytes.fill(0, KEY_AT, KEY_AT + KEY_SIZE)
    if (made !== 1) throw new ZosError('Set up AES-256-GCM: OpenSSL refused', { code: 'crypto-failed', kind: 'bug' })
  }

  /**
   * Transforms INPUT[from, from+length) into OUTPUT at TO (the same place is allowed). Encrypting writes the tag to
   * TAG[tagAt, +16); decrypting compares it and returns false when it does not fit: OUTPUT is then worthless.
   */
  run(
    nonce: Uint8Array,
    nonceFrom: number,
    input: Uint8Array,
    from: number,
    length: number,
    output: Uint8Array,
    to: number,
    tag: Uint8Array,
    tagFrom: number,
  ): boolean {
    checkRange(input, from, length)
    checkRange(output, to, length)
    checkRange(tag, tagFrom, TAG_SIZE)
    checkRange(nonce, nonceFrom, NONCE_SIZE)
    const context = this.#context
    for (let i = 0; i < NONCE_SIZE; i++) small.bytes[i] = nonce[nonceFrom + i]!
    if (evp.EVP_CipherInit_ex(context, NOTHING, NOTHING, NOTHING, nonceAt, this.#encrypt) !== 1) return false
    if (length > 0 && !this.#update(input, from, length, output, to)) return false
    if (this.#encrypt === 0n) {
      for (let i = 0; i < TAG_SIZE; i++) small.bytes[TAG_AT + i] = tag[tagFrom + i]!
      if (evp.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG_LENGTH, tagAt) !== 1) return false
    }
    // GCM has no padding: nothing is written here, but the tag is made or compared
    if (evp.EVP_CipherFinal_ex(context, tagAt, writtenAt) !== 1) return false
    if (this.#encrypt === 0n) return true
    if (evp.EVP_CIPHER_CTX_ctrl(context, GET_TAG, TAG_LENGTH, tagAt) !== 1) return false
    for (let i = 0; i < TAG_SIZE; i++) tag[tagFrom + i] = small.bytes[TAG_AT + i]!
    return true
  }

  #update(input: Uint8Array, from: number, length: number, output: Uint8Array, to: number): boolean {
    if (!locate(input, from, words, FROM)) {
      checkRange(bounceIn.bytes, 0, length)
      bounceIn.bytes.set(input.subarray(from, from + length))
      locate(bounceIn.bytes, 0, words, FROM)
    }
    const isDirect = locate(output, to, words, TO)
    if (!isDirect) {
      checkRange(bounceOut.bytes, 0, length)
      locate(bounceOut.bytes, 0, words, TO)
    }
    halves[LENGTH * 2] = length
    const done = evp.EVP_CipherUpdate(this.#context, whole[TO]!, writtenAt, whole[FROM]!, whole[LENGTH]!)
    if (done !== 1) return false
    if (!isDirect) output.set(bounceOut.bytes.subarray(0, length), to)
    return true
  }

  [Symbol.dispose](): void {
    if (this.#context === 0n) return
    evp.EVP_CIPHER_CTX_free(this.#context)
    this.#context = 0n
  }
}
