import { sha256 } from '#codec'
import { p256, x25519 } from '#npm'
import { encodeAssertion, messageOf } from '../typed/passkey.ts'
import type { Key } from './keys.ts'

type Hex = `0x${string}`

/** The relying party a software passkey answers to, and the page it claims to be asked from. */
const RELYING_PARTY = 'zos.localhost'
/** User present and user verified: the passphrase was given. */
const FLAGS = 0x05

/** A passkey in software: the same assertions as an authenticator's, from a P-256 secret. Its name is its public key. */
export function passkeyOf(name: string, secret: Uint8Array): Key {
  const sealSecret = sha256(Buffer.from('zos member seal x25519\0'), secret)
  const publicKey = p256.getPublicKey(secret, false).subarray(1)
  return {
    name,
    address: `0x${Buffer.from(publicKey).toString('hex')}`,
    seal: `0x${Buffer.from(x25519.getPublicKey(sealSecret)).toString('hex')}`,
    sign: (digest) => assert(digest, secret),
    secret,
    sealSecret,
  }
}

/** An assertion over DIGEST as the challenge, in the form the contract and the verifier take. */
function assert(digest: Hex, secret: Uint8Array): Hex {
  const challenge = Buffer.from(digest.slice(2), 'hex').toString('base64url')
  const client = `{"type":"webauthn.get","challenge":"${challenge}","origin":"https://${RELYING_PARTY}","crossOrigin":false}`
  // the counter stays 0, as it does for synced passkeys
  const authenticatorData = Buffer.concat([sha256(Buffer.from(RELYING_PARTY)), Buffer.of(FLAGS, 0, 0, 0, 0)])
  const clientDataJSON = Buffer.from(client)
  return encodeAssertion({
    rs: p256.sign(messageOf({ authenticatorData, clientDataJSON }), secret, { prehash: false, lowS: true }),
    challengeIndex: BigInt(client.indexOf('"challenge"')),
    typeIndex: BigInt(client.indexOf('"type"')),
    authenticatorData,
    clientDataJSON,
  })
}
