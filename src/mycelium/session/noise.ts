import { createCipheriv, createDecipheriv, createHash, createHmac } from 'node:crypto'
import { type KeyPair, keyPairOf, newKeyPair, sharedSecret } from '../identity.ts'

/**
 * The Noise protocol framework, revision 34 (noiseprotocol.org), as far as one pattern needs it:
 *   IK:  <- s  …  -> e, es, s, ss   <- e, ee, se
 * Who initiates knows the other's key before, as the overlay does: an address is the hash of a key. Section numbers are
 * the specification's. The primitives are node:crypto's.
 */
const PROTOCOL = 'Noise_IK_25519_AESGCM_SHA256'
const KEY = 32
const TAG = 16

/** One key for each direction of the transport that follows. */
export type TransportKeys = { send: Buffer; receive: Buffer }

/** §4.3 HKDF with two outputs. */
function hkdf(chainingKey: Uint8Array, input: Uint8Array): [Buffer, Buffer] {
  const hmac = (key: Uint8Array, data: Uint8Array) => createHmac('sha256', key).update(data).digest()
  const temporary = hmac(chainingKey, input)
  const first = hmac(temporary, Uint8Array.of(1))
  return [first, hmac(temporary, Buffer.concat([first, Uint8Array.of(2)]))]
}

/** §5.1: the nonce of AESGCM is 32 zero bits and the counter, big-endian. */
function nonceOf(counter: number): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeUInt32BE(counter, 8)
  return nonce
}

/** §5.2. Undefined from a read means that the message was not made for us, or not by whom it says. */
function symmetricState(prologue: Uint8Array) {
  let hash = Buffer.alloc(KEY)
  hash.write(PROTOCOL)
  let chainingKey: Buffer = hash
  let key: Buffer = Buffer.alloc(0)
  let counter = 0

  function mixHash(data: Uint8Array): void {
    hash = createHash('sha256').update(hash).update(data).digest()
  }
  mixHash(prologue)

  return {
    mixHash,
    /** False for a key of small order, whose secret is known to everybody. */
    mixKey(own: KeyPair, other: Uint8Array): boolean {
      const secret = sharedSecret(own, other)
      if (!secret) return false
      ;[chainingKey, key] = hkdf(chainingKey, secret)
      secret.fill(0)
      counter = 0
      return true
    },
    encrypt(plain: Uint8Array): Buffer {
      const cipher = createCipheriv('aes-256-gcm', key, nonceOf(counter++)).setAAD(hash)
      const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
      mixHash(sealed)
      return sealed
    },
    decrypt(sealed: Uint8Array): Buffer | undefined {
      if (sealed.length < TAG) return undefined
      const end = sealed.length - TAG
      const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(counter++), { authTagLength: TAG }).setAAD(hash)
      decipher.setAuthTag(sealed.subarray(end))
      try {
        const plain = Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()])
        mixHash(sealed)
        return plain
      } catch {
        return undefined
      }
    },
    /** The keys from the initiator's side; the hash names this handshake. */
    split(): { first: Buffer; second: Buffer; hash: Buffer } {
      const [first, second] = hkdf(chainingKey, Buffer.alloc(0))
      chainingKey.fill(0)
      key.fill(0)
      return { first, second, hash }
    },
  }
}

/** A key pair or, in tests, the secret of one. */
const ephemeralOf = (secret: Uint8Array | undefined): KeyPair => (secret ? keyPairOf(secret) : newKeyPair())

export type Initiation = {
  message: Buffer
  /** Reads the answer. */
  finish: (response: Buffer) => { payload: Buffer; keys: TransportKeys; hash: Buffer } | undefined
}

/** The first message to whom REMOTE is the static key of; undefined when that key is unusable. */
export function initiate(
  own: KeyPair,
  remote: Uint8Array,
  prologue: Uint8Array,
  payload: Uint8Array,
  secret?: Uint8Array,
): Initiation | undefined {
  const state = symmetricState(prologue)
  state.mixHash(remote)
  const ephemeral = ephemeralOf(secret)
  state.mixHash(ephemeral.publicKey)
  if (!state.mixKey(ephemeral, remote)) return undefined
  const sealedKey = state.encrypt(own.publicKey)
  if (!state.mixKey(own, remote)) return undefined
  const message = Buffer.concat([ephemeral.publicKey, sealedKey, state.encrypt(payload)])
  return {
    message,
    finish(response) {
      const other = response.subarray(0, KEY)
      if (other.length < KEY) return undefined
      state.mixHash(other)
      if (!state.mixKey(ephemeral, other) || !state.mixKey(own, other)) return undefined
      const answered = state.decrypt(response.subarray(KEY))
      if (!answered) return undefined
      const { first, second, hash } = state.split()
      return { payload: answered, keys: { send: first, receive: second }, hash }
    },
  }
}

export type Invitation = {
  /** The initiator's static key, proven. */
  remote: Buffer
  payload: Buffer
  answer: (
    payload: Uint8Array,
    secret?: Uint8Array,
  ) => { message: Buffer; keys: TransportKeys; hash: Buffer } | undefined
}

/** Reads a first message; undefined when it was not made for us. */
export function readInitiation(own: KeyPair, message: Buffer, prologue: Uint8Array): Invitation | undefined {
  if (message.length < 2 * KEY + 2 * TAG) return undefined
  const state = symmetricState(prologue)
  state.mixHash(own.publicKey)
  const other = message.subarray(0, KEY)
  state.mixHash(other)
  if (!state.mixKey(own, other)) return undefined
  const remote = state.decrypt(message.subarray(KEY, 2 * KEY + TAG))
  if (!remote || !state.mixKey(own, remote)) return undefined
  const payload = state.decrypt(message.subarray(2 * KEY + TAG))
  if (!payload) return undefined
  return {
    remote,
    payload,
    answer(answered, secret) {
      const ephemeral = ephemeralOf(secret)
      state.mixHash(ephemeral.publicKey)
      if (!state.mixKey(ephemeral, other) || !state.mixKey(ephemeral, remote)) return undefined
      const response = Buffer.concat([ephemeral.publicKey, state.encrypt(answered)])
      const { first, second, hash } = state.split()
      return { message: response, keys: { send: second, receive: first }, hash }
    },
  }
}
