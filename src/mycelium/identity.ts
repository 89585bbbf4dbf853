import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { reasonOf, ZosError } from '#codec'
import { writeAtomic } from '#sys'
import { addressOf, formatAddress, formatSubnet, type Subnet, subnetOf } from './address.ts'

/** RFC 8410 wrappers of a raw 32-byte X25519 key, PKCS #8 and SubjectPublicKeyInfo. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI = Buffer.from('302a300506032b656e032100', 'hex')
const KEY_SIZE = 32

/** X25519; the public key is its 32 raw bytes. */
export type KeyPair = { privateKey: KeyObject; publicKey: Buffer }
/** A key pair and what the overlay derives from it. */
export type Identity = KeyPair & { address: Buffer; subnet: Subnet }

export function keyPairOf(secret: Uint8Array): KeyPair {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, secret]), format: 'der', type: 'pkcs8' })
  return { privateKey, publicKey: rawPublicKey(privateKey) }
}

export function newKeyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('x25519')
  return { privateKey, publicKey: rawPublicKey(privateKey) }
}

const rawPublicKey = (privateKey: KeyObject): Buffer =>
  createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(SPKI.length)

export function identityOf(secret: Uint8Array): Identity {
  const pair = keyPairOf(secret)
  const address = addressOf(pair.publicKey)
  return { ...pair, address, subnet: subnetOf(address) }
}

/** X25519 as it is, without a derivation: 32 bytes. Undefined for keys of small order, which give all zeros. */
export function sharedSecret({ privateKey }: KeyPair, publicKey: Uint8Array): Buffer | undefined {
  try {
    const other = createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' })
    return diffieHellman({ privateKey, publicKey: other })
  } catch {
    return undefined
  }
}

/** What `inspect` prints. */
export const describeIdentity = (identity: Identity): { publicKey: string; address: string; subnet: string } => ({
  publicKey: identity.publicKey.toString('hex'),
  address: formatAddress(identity.address),
  subnet: formatSubnet(identity.subnet),
})

/** Writes a new key file (32 raw bytes, mode 0600); refuses to replace one. */
export async function createKeyFile(path: string): Promise<Identity> {
  const there = await stat(path).catch(() => undefined)
  if (there)
    throw new ZosError(`Create key file "${path}": it exists already; remove it first if its identity may be lost`, {
      code: 'key-exists',
    })
  const secret = randomBytes(KEY_SIZE)
  try {
    await writeAtomic(path, secret, { mode: 0o600 })
  } catch (cause) {
    throw new ZosError(`Create key file "${path}": ${reasonOf(cause)}`, { code: 'key-unwritable', cause })
  }
  return identityOf(secret)
}

/** Reads a key file: 32 raw bytes, readable by its owner (and group) only. */
export const readKeyFile = async (path: string): Promise<Identity> => identityOf(await readSecret(path))

/** The raw bytes of a key file, checked. */
export async function readSecret(path: string): Promise<Buffer> {
  let secret: Buffer
  let mode: number
  try {
    const there = await stat(path)
    // a pipe would be waited for, a device has no end
    if (!there.isFile()) throw new Error('it is no file')
    mode = there.mode
    secret = await readFile(path)
  } catch (cause) {
    throw new ZosError(`Read key file "${path}": ${reasonOf(cause)}; "./zos mycelium keygen" makes one`, {
      code: 'key-unreadable',
      cause,
    })
  }
  if (secret.length !== KEY_SIZE)
    throw new ZosError(`Read key file "${path}": ${secret.length} bytes, a key is ${KEY_SIZE} raw bytes`, {
      code: 'bad-key',
    })
  if (mode & 0o007)
    throw new ZosError(`Read key file "${path}": everybody on this machine may read it; run chmod 600 on it`, {
      code: 'key-exposed',
    })
  return secret
}
