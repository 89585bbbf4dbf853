import { dlopen } from 'node:ffi'
import { ZosError } from '#codec'
import { addressOf, checkRange } from './ffi.ts'

/** The OpenSSL inside Node, for one packet after another under one key: node:crypto makes an object for each. */
const { functions: evp } = dlopen(null, {
  EVP_CIPHER_CTX_ctrl: { arguments: ['pointer', 'i32', 'i32', 'pointer'], return: 'i32' },
  EVP_CIPHER_CTX_free: { arguments: ['pointer'], return: 'void' },
  EVP_CIPHER_CTX_new: { arguments: [], return: 'pointer' },
  EVP_CipherFinal_ex: { arguments: ['pointer', 'pointer', 'pointer'], return: 'i32' },
  EVP_CipherInit_ex: { arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'i32'], return: 'i32' },
  EVP_CipherUpdate: { arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'i32'], return: 'i32' },
  EVP_aes_256_gcm: { arguments: [], return: 'pointer' },
})
/** openssl/evp.h: EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG */
const GET_TAG = 0x10
const SET_TAG = 0x11
const TAG_SIZE = 16
const NONCE_SIZE = 12
const NOTHING = 0n
const outLength = new Uint8Array(4)

/** One direction of AES-256-GCM under one key. Not for two threads at once. */
export class GcmContext implements Disposable {
  readonly #encrypt: 0 | 1
  #context: bigint

  constructor(key: Uint8Array, direction: 'encrypt' | 'decrypt') {
    if (key.length !== 32) throw new RangeError(`AES-256 key of ${key.length} bytes`)
    this.#encrypt = direction === 'encrypt' ? 1 : 0
    this.#context = evp.EVP_CIPHER_CTX_new() as bigint
    if (evp.EVP_CipherInit_ex(this.#context, evp.EVP_aes_256_gcm() as bigint, null, key, null, this.#encrypt) !== 1)
      throw new ZosError('Set up AES-256-GCM: OpenSSL refused', { code: 'crypto-failed', kind: 'bug' })
  }

  /**
   * Transforms INPUT[from, from+length) into OUTPUT at TO (the same place is allowed). Encrypting writes the tag to
   * TAG[tagAt, +16); decrypting compares it and returns false when it does not fit: OUTPUT is then worthless.
   */
  run(
    nonce: Uint8Array,
    nonceAt: number,
    input: Uint8Array,
    from: number,
    length: number,
    output: Uint8Array,
    to: number,
    tag: Uint8Array,
    tagAt: number,
  ): boolean {
    checkRange(input, from, length)
    checkRange(output, to, length)
    checkRange(tag, tagAt, TAG_SIZE)
    checkRange(nonce, nonceAt, NONCE_SIZE)
    const context = this.#context
    const tagPointer = addressOf(tag, tagAt)
    const written = addressOf(outLength, 0)
    const iv = addressOf(nonce, nonceAt)
    if (evp.EVP_CipherInit_ex(context, NOTHING, NOTHING, NOTHING, iv, this.#encrypt) !== 1) return false
    if (length > 0) {
      const done = evp.EVP_CipherUpdate(context, addressOf(output, to), written, addressOf(input, from), length)
      if (done !== 1) return false
    }
    if (this.#encrypt === 0 && evp.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG_SIZE, tagPointer) !== 1) return false
    // GCM has no padding: nothing is written here, but the tag is made or compared
    if (evp.EVP_CipherFinal_ex(context, tagPointer, written) !== 1) return false
    return this.#encrypt === 0 || evp.EVP_CIPHER_CTX_ctrl(context, GET_TAG, TAG_SIZE, tagPointer) === 1
  }

  [Symbol.dispose](): void {
    if (this.#context === 0n) return
    evp.EVP_CIPHER_CTX_free(this.#context)
    this.#context = 0n
  }
}
