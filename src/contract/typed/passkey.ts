import { sha256 } from '#codec'
import { encodeAbiParameters, getContractAddress, p256 } from '#npm'
import type { Domain } from './digest.ts'
import { recoverSigner } from './recover.ts'

type Hex = `0x${string}`

/**
 * What a member's signer bytes name. `address`: a key or a contract wallet, which cannot be told apart offline. `p256`
 * and `webauthn`: a public key behind one of the verifiers the Ledger brought with it. `other`: some other ERC-7913
 * verifier, whose code is known to the chain alone.
 */
export type SignerKind = 'address' | 'p256' | 'webauthn' | 'other'

/** The Ledger's constructor makes the verifiers as its first two contracts (EIP-161: nonces begin at 1). */
const NONCE = { p256: 1n, webauthn: 2n } as const

const verifierOf = (domain: Domain, scheme: keyof typeof NONCE): Hex =>
  getContractAddress({ from: domain.contract, nonce: NONCE[scheme] }).toLowerCase() as Hex

/** The ERC-7913 signer of a P-256 public key (64 bytes, x ‖ y) at this contract. */
export const passkeySigner = (domain: Domain, scheme: keyof typeof NONCE, publicKey: Hex): Hex =>
  `${verifierOf(domain, scheme)}${publicKey.slice(2)}`

/** The signer of a key as keys are named at home: a 20-byte address stays, a 64-byte P-256 key is a WebAuthn passkey. */
export const signerOf = (domain: Domain, name: Hex): Hex =>
  name.length === 130 ? passkeySigner(domain, 'webauthn', name) : name

export function signerKind(domain: Domain, signer: Hex): SignerKind {
  if (signer.length === 42) return 'address'
  if (signer.length !== 2 + 2 * 84) return 'other'
  const verifier = signer.slice(0, 42)
  if (verifier === verifierOf(domain, 'webauthn')) return 'webauthn'
  return verifier === verifierOf(domain, 'p256') ? 'p256' : 'other'
}

/** Whether SIGNATURE over DIGEST is the signer's, as far as signatures alone tell: what needs a chain's code is false. */
export function signedBy(domain: Domain, signer: Hex, digest: Hex, signature: Hex): boolean {
  const kind = signerKind(domain, signer)
  if (kind === 'address') return recoverSigner(digest, signature) === signer
  if (kind === 'other') return false
  const bytes = bytesOf(signature)
  // one signature has one form: a byte that could be changed unseen is refused
  if (canonicalSignature(domain, signer, signature) !== signature) return false
  const key = Buffer.concat([Buffer.of(4), bytesOf(signer).subarray(20)])
  if (kind === 'p256') return verifyP256(bytes, bytesOf(digest), key)
  const auth = decodeAssertion(bytes)
  return auth !== undefined && saysYes(auth, bytesOf(digest)) && verifyP256(auth.rs, messageOf(auth), key)
}

/**
 * The one form of a passkey's signature. The contract takes more (trailing bytes, other offsets): without this a relayer
 * could post a form that the chain takes and no node does.
 */
export function canonicalSignature(domain: Domain, signer: Hex, signature: Hex): Hex {
  const kind = signerKind(domain, signer)
  if (kind === 'p256') return signature.slice(0, 130) as Hex
  if (kind !== 'webauthn') return signature
  const auth = decodeAssertion(bytesOf(signature))
  return auth ? encodeAssertion(auth) : signature
}

/** A WebAuthn assertion (Web Authentication Level 2, §6.3.3) as OpenZeppelin's WebAuthn.sol has it. */
export type Assertion = {
  /** r ‖ s */
  rs: Uint8Array
  challengeIndex: bigint
  typeIndex: bigint
  authenticatorData: Uint8Array
  clientDataJSON: Uint8Array
}

const HEAD = ['bytes32', 'bytes32', 'uint256', 'uint256', 'bytes', 'bytes'].map((type) => ({ type }))

export function encodeAssertion(a: Assertion): Hex {
  const [r, s] = [a.rs.subarray(0, 32), a.rs.subarray(32)].map(hexOf)
  return encodeAbiParameters(HEAD, [
    r,
    s,
    a.challengeIndex,
    a.typeIndex,
    hexOf(a.authenticatorData),
    hexOf(a.clientDataJSON),
  ])
}

/** As WebAuthn.tryDecodeAuth: six words, then two byte strings wherever their offsets say. */
function decodeAssertion(bytes: Buffer): Assertion | undefined {
  if (bytes.length < 0xc0) return undefined
  const word = (at: number) => BigInt(`0x${bytes.toString('hex', at, at + 32)}`)
  const string = (offset: bigint) => {
    if (offset > BigInt(bytes.length - 32)) return undefined
    const at = Number(offset) + 32
    const length = word(at - 32)
    return length > BigInt(bytes.length - at) ? undefined : bytes.subarray(at, at + Number(length))
  }
  const [authenticatorData, clientDataJSON] = [string(word(0x80)), string(word(0xa0))]
  if (!authenticatorData || !clientDataJSON) return undefined
  const [challengeIndex, typeIndex] = [word(0x40), word(0x60)]
  return { rs: bytes.subarray(0, 64), challengeIndex, typeIndex, authenticatorData, clientDataJSON }
}

/** Flags of authenticator data: user present, user verified, backup eligible, backed up. */
const [UP, UV, BE, BS] = [1, 4, 8, 16]

/** Whether a person was there, was recognised, and answered this challenge. */
function saysYes({ authenticatorData, clientDataJSON, typeIndex, challengeIndex }: Assertion, digest: Buffer): boolean {
  const flags = authenticatorData[32]
  if (authenticatorData.length < 37 || flags === undefined) return false
  const holds = (text: string, at: bigint) =>
    at <= BigInt(clientDataJSON.length) &&
    Buffer.from(clientDataJSON.buffer, clientDataJSON.byteOffset, clientDataJSON.length)
      .subarray(Number(at), Number(at) + text.length)
      .equals(Buffer.from(text))
  return (
    (flags & UP) !== 0 &&
    (flags & UV) !== 0 &&
    ((flags & BE) !== 0 || (flags & BS) === 0) &&
    holds('"type":"webauthn.get"', typeIndex) &&
    holds(`"challenge":"${digest.toString('base64url')}"`, challengeIndex)
  )
}

/** What the authenticator signs (§7.2, step 20). */
export const messageOf = (a: Pick<Assertion, 'authenticatorData' | 'clientDataJSON'>): Uint8Array =>
  sha256(a.authenticatorData, sha256(a.clientDataJSON))

/** ECDSA on P-256 over 32 bytes, s in the lower half of the order, as P256.sol. */
function verifyP256(rs: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  try {
    return p256.verify(rs, message, key, { prehash: false, lowS: true })
  } catch {
    return false
  }
}

const bytesOf = (h: Hex) => Buffer.from(h.slice(2), 'hex')
const hexOf = (b: Uint8Array): Hex => `0x${Buffer.from(b).toString('hex')}`
