import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf, sha256Hex, ZosError } from '#codec'
import { sleep, tryLock, writeAtomic } from '#sys'

/** An Ed25519 key that signs what this home publishes. */
export type SigningKey = {
  /** The 32-byte public key, in hex. */
  public: string
  sign(message: Uint8Array): Buffer
  /** The private key, PKCS #8. */
  pem(): string | Buffer
}

/** DER in front of a raw Ed25519 public key (RFC 8410 §4). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** SHA-256 of the raw public key: what a signature's file is named by. */
export const keyIdOf = (publicHex: string): string => sha256Hex(Buffer.from(publicHex, 'hex'))

const keyFile = (home: string) => join(home, 'keys', 'publish.pem')

function usable(key: KeyObject): SigningKey {
  const raw = createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(SPKI.length)
  return {
    public: raw.toString('hex'),
    sign: (message) => sign(null, message, key),
    pem: () => key.export({ type: 'pkcs8', format: 'pem' }),
  }
}

/** The home's own key, made at first use (`keys/publish.pem`, mode 0600). */
export async function signingKey(home: string): Promise<SigningKey> {
  try {
    return usable(createPrivateKey(readFileSync(keyFile(home))))
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') {
      throw new ZosError(`Read the signing key "${keyFile(home)}": it is damaged; restore it from a backup`, {
        code: 'bad-key',
        cause: error,
      })
    }
  }
  await mkdir(dirname(keyFile(home)), { recursive: true })
  await using folder = await open(dirname(keyFile(home)))
  while (!tryLock(folder.fd)) await sleep(20)
  // somebody else may have made it meanwhile
  if (existsSync(keyFile(home))) return signingKey(home)
  const key = makeSigningKey()
  await keepSigningKey(home, key)
  return key
}

/** A new key, kept nowhere yet. */
export function makeSigningKey(): SigningKey {
  return usable(generateKeyPairSync('ed25519').privateKey)
}

/** Makes KEY the home's own. */
export async function keepSigningKey(home: string, key: SigningKey): Promise<void> {
  await writeAtomic(keyFile(home), key.pem(), { mode: 0o600 })
}

/** True when SIGNATURE is KEY's over MESSAGE; false also for what is no key or no signature. */
export function signedBy(publicHex: string, message: Uint8Array, signature: Uint8Array): boolean {
  if (!/^[0-9a-f]{64}$/.test(publicHex) || signature.length !== 64) return false
  try {
    const key = createPublicKey({
      key: Buffer.concat([SPKI, Buffer.from(publicHex, 'hex')]),
      format: 'der',
      type: 'spki',
    })
    return verify(null, message, key, signature)
  } catch {
    return false
  }
}
