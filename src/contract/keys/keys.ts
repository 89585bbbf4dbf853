import { createCipheriv, createDecipheriv, randomBytes, scrypt as scryptCallback } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, sha256, ZosError } from '#codec'
import { p256, secp256k1, x25519, z } from '#npm'
import { writeAtomic } from '#sys'
import { addressOfPublicKey, signDigest } from '../typed/recover.ts'
import { passkeyOf } from './passkey.ts'

type Hex = `0x${string}`

const scrypt = promisify(scryptCallback) as (
  passphrase: string,
  salt: Uint8Array,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>

/** OWASP's minimum for scrypt is N=2^17, r=8, p=1: 128 MiB, about 0.4 s. */
const COST = { N: 1 << 17, r: 8, p: 1 } as const

const hex = (bytes?: number) =>
  z.string().regex(bytes === undefined ? /^([0-9a-f]{2})+$/ : new RegExp(`^[0-9a-f]{${bytes * 2}}$`))

const fileSchema = z.strictObject({
  format: z.literal('zos-key/1'),
  name: z.string(),
  address: z.string().regex(/^0x([0-9a-f]{40}|[0-9a-f]{128})$/),
  seal: z.string().regex(/^0x[0-9a-f]{64}$/),
  // bounded, so that a forged file cannot ask for all memory
  scrypt: z.strictObject({
    N: z
      .int()
      .min(2)
      .max(1 << 20),
    r: z.int().min(1).max(16),
    p: z.int().min(1).max(4),
    salt: hex(16),
  }),
  aesGcm: z.strictObject({ iv: hex(12), tag: hex(16), box: hex() }),
})

/**
 * What anyone may know of a key: its address (of a passkey: its P-256 public key, 64 bytes) and the X25519 key specs are
 * sealed to.
 */
export type PublicKey = { name: string; address: Hex; seal: Hex }

/** An opened key: signs digests, opens what was sealed to it. */
export type Key = PublicKey & { sign(digest: Hex): Hex; secret: Uint8Array; sealSecret: Uint8Array }

const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/

function checkName(name: string): void {
  if (!NAME.test(name)) {
    throw new ZosError(`Name key "${name}": take 1 to 63 of a–z, 0–9, ".", "_" and "-", a letter or digit first`, {
      code: 'bad-key-name',
    })
  }
}

/** The opened form of a 32-byte secret. The sealing key is derived, so that one secret is all there is to keep. */
export function keyOf(name: string, secret: Uint8Array): Key {
  const sealSecret = sha256(Buffer.from('zos member seal x25519\0'), secret)
  return {
    name,
    address: addressOfPublicKey(secp256k1.getPublicKey(secret, false)),
    seal: `0x${Buffer.from(x25519.getPublicKey(sealSecret)).toString('hex')}`,
    sign: (digest) => signDigest(digest, secret),
    secret,
    sealSecret,
  }
}

const fileOf = (dir: string, name: string) => join(dir, `${name}.json`)

export type NewKeyOptions = {
  /** A P-256 key that signs as a WebAuthn authenticator does, instead of a secp256k1 key. */
  passkey?: boolean
  cost?: { N: number; r: number; p: number }
}

/** Makes a key DIR/NAME.json, encrypted under PASSPHRASE (scrypt, AES-256-GCM bound to name and address). */
export async function newKey(
  dir: string,
  name: string,
  passphrase: string,
  { passkey = false, cost = COST }: NewKeyOptions = {},
): Promise<Key> {
  checkName(name)
  if (passphrase === '') throw new ZosError(`Make key "${name}": the passphrase is empty`, { code: 'no-passphrase' })
  const exists = () => new ZosError(`Make key "${name}": it exists; take another name`, { code: 'key-exists' })
  if (await stat(fileOf(dir, name)).catch(() => undefined)) throw exists()
  const key = passkey ? passkeyOf(name, p256.utils.randomSecretKey()) : keyOf(name, secp256k1.utils.randomSecretKey())
  const salt = randomBytes(16)
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', await scrypt(passphrase, salt, 32, options(cost)), iv)
  cipher.setAAD(Buffer.from(`zos-key/1\0${name}\0${key.address}`))
  const box = Buffer.concat([cipher.update(key.secret), cipher.final()])
  const file = {
    format: 'zos-key/1',
    name,
    address: key.address,
    seal: key.seal,
    scrypt: { ...cost, salt: salt.toString('hex') },
    aesGcm: { iv: iv.toString('hex'), tag: cipher.getAuthTag().toString('hex'), box: box.toString('hex') },
  }
  // another process may have made one of this name meanwhile, and its address may be known to others already
  await writeAtomic(fileOf(dir, name), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600, fresh: true }).catch(
    (error: unknown) => {
      throw codeOf(error) === 'EEXIST' ? exists() : error
    },
  )
  return key
}

const options = (c: { N: number; r: number; p: number }) => ({
  N: c.N,
  r: c.r,
  p: c.p,
  maxmem: 256 * c.N * c.r + (1 << 20),
})

async function read(dir: string, name: string): Promise<z.infer<typeof fileSchema>> {
  checkName(name)
  let text: string
  try {
    text = await readFile(fileOf(dir, name), 'utf8')
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT') throw cause
    throw new ZosError(`Open key "${name}": there is none; "zos key ls" lists them`, { code: 'no-key', cause })
  }
  const bad = (why: string, cause?: unknown) =>
    new ZosError(`Open key "${name}": "${fileOf(dir, name)}" ${why}`, { code: 'key-damaged', cause })
  let file: z.infer<typeof fileSchema>
  try {
    file = fileSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw bad('is damaged: it is not what "zos key new" wrote', cause)
  }
  // its passphrase would be called wrong
  if (file.name !== name)
    throw bad(`holds key "${file.name}", which opens under that name alone: name the file so again`)
  return file
}

/** Opens DIR/NAME.json. A wrong passphrase and a changed file look the same, by design of the cipher. */
export async function openKey(dir: string, name: string, passphrase: string): Promise<Key> {
  const file = await read(dir, name)
  const wrapping = await scrypt(passphrase, Buffer.from(file.scrypt.salt, 'hex'), 32, options(file.scrypt))
  const decipher = createDecipheriv('aes-256-gcm', wrapping, Buffer.from(file.aesGcm.iv, 'hex'))
  decipher.setAAD(Buffer.from(`zos-key/1\0${name}\0${file.address}`))
  decipher.setAuthTag(Buffer.from(file.aesGcm.tag, 'hex'))
  let secret: Buffer
  try {
    secret = Buffer.concat([decipher.update(Buffer.from(file.aesGcm.box, 'hex')), decipher.final()])
  } catch (cause) {
    throw new ZosError(`Open key "${name}": wrong passphrase`, { code: 'wrong-passphrase', cause })
  }
  return file.address.length === 42 ? keyOf(name, secret) : passkeyOf(name, secret)
}

/** The public part alone: no passphrase needed. */
export async function readPublicKey(dir: string, name: string): Promise<PublicKey> {
  const file = await read(dir, name)
  return { name, address: file.address as Hex, seal: file.seal as Hex }
}

/** Those that can be read: a damaged one must not keep others from being used. BAD hears why one is left out. */
export async function listKeys(dir: string, bad?: (why: ZosError) => void): Promise<PublicKey[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  })
  const keys = names.filter((n) => n.endsWith('.json')).sort()
  const read = await Promise.all(
    keys.map((n) =>
      readPublicKey(dir, n.slice(0, -'.json'.length)).catch((error: unknown) => {
        if (!(error instanceof ZosError) || error.code !== 'key-damaged') throw error
        bad?.(error)
        return undefined
      }),
    ),
  )
  return read.filter((k) => k !== undefined)
}
