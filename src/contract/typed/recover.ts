import { keccak_256, secp256k1 } from '#npm'

type Hex = `0x${string}`

const HALF_N = secp256k1.Point.Fn.ORDER >> 1n

/**
 * The address whose key signed DIGEST, or undefined when the bytes are no signature: 65 bytes r‖s‖v with v 27 or 28 and
 * s in the lower half (EIP-2), so that one signature has one form.
 */
export function recoverSigner(digest: Hex, signature: Hex): Hex | undefined {
  const bytes = Buffer.from(signature.slice(2), 'hex')
  const v = bytes[64]
  if (bytes.length !== 65 || (v !== 27 && v !== 28)) return undefined
  if (BigInt(`0x${bytes.toString('hex', 32, 64)}`) > HALF_N) return undefined
  try {
    const parsed = secp256k1.Signature.fromBytes(bytes.subarray(0, 64), 'compact').addRecoveryBit(v - 27)
    return addressOfPublicKey(parsed.recoverPublicKey(Buffer.from(digest.slice(2), 'hex')).toBytes(false))
  } catch {
    return undefined
  }
}

/** Ethereum's address of an uncompressed (65-byte) secp256k1 key, in lower case. */
export function addressOfPublicKey(uncompressed: Uint8Array): Hex {
  return `0x${Buffer.from(keccak_256(uncompressed.subarray(1)).subarray(12)).toString('hex')}`
}

/** Signs 32 bytes; the form recoverSigner takes. */
export function signDigest(digest: Hex, secret: Uint8Array): Hex {
  const bytes = Buffer.from(digest.slice(2), 'hex')
  const made = secp256k1.Signature.fromBytes(
    secp256k1.sign(bytes, secret, { prehash: false, format: 'recovered' }),
    'recovered',
  )
  return `0x${Buffer.from(made.toBytes('compact')).toString('hex')}${(27 + made.recovery!).toString(16)}`
}
