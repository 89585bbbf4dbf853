import { randomBytes } from 'node:crypto'
import { bech32 } from '@scure/base'
import { canonicalJson, reasonOf, sha256Hex, ZosError } from '#codec'
import { Decrypter, Encrypter, z } from '#npm'
import { word } from '../typed/schema.ts'
import { leafOf, merkleProof, merkleRoot, rootFrom, type SlotSpec } from './leaf.ts'

type Hex = `0x${string}`

const LIMIT = 4 << 20

const overlayAddress = z.string().regex(/^0[45][0-9a-f]{30}$/)

const sealedSchema = z.strictObject({
  format: z.literal('zos-sealed-spec/1'),
  salt: z.string().regex(/^[0-9a-f]{64}$/),
  proof: z.array(word).max(8),
  spec: z.strictObject({
    deployment: z.string(),
    slot: z.int().min(0).max(127),
    replica: z.int().min(0),
    workload: z.record(z.string(), z.unknown()),
    network: z
      .strictObject({
        secret: z.string().regex(/^[0-9a-f]{64}$/),
        members: z
          .array(
            z.strictObject({
              slot: z.int().min(0).max(127),
              names: z.array(z.string().regex(/^[a-z0-9-]{1,63}$/)).max(4),
              address: overlayAddress,
            }),
          )
          .max(128),
        others: z
          .array(
            z.strictObject({
              names: z.array(z.string().regex(/^[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}$/)).max(4),
              address: overlayAddress,
            }),
          )
          .max(1024)
          .exactOptional(),
        allow: z
          .array(
            z.strictObject({
              from: z.array(overlayAddress).max(4096),
              people: z.boolean(),
              ports: z
                .array(z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: z.int().min(1).max(65535) }))
                .max(64),
            }),
          )
          .max(64)
          .exactOptional(),
        reserved: z
          .strictObject({
            of: z
              .array(
                z.strictObject({
                  rule: z.string().regex(/^[a-z0-9-]{1,63}\/([a-z0-9-]{1,63}|\*)$/),
                  address: overlayAddress,
                }),
              )
              .max(1024),
            readers: z.array(word).max(256),
            secrets: z.base64().max(1 << 20),
          })
          .exactOptional(),
      })
      .exactOptional(),
  }),
})

/** A slot's spec with the salt its leaf was made with. */
export type Salted = { spec: SlotSpec; salt: Uint8Array }

/** An age file for one slot, and its name: the SHA-256 that the signed slot carries as `blob`. */
export type Sealed = { bytes: Uint8Array; blob: Hex }

const ageKey = (prefix: string, key: Uint8Array) => bech32.encodeFromBytes(prefix, key)
const recipientOf = (seal: Hex) => ageKey('age', Buffer.from(seal.slice(2), 'hex'))
const identityOf = (secret: Uint8Array) => ageKey('AGE-SECRET-KEY-', secret).toUpperCase()

export const salted = (spec: SlotSpec): Salted => ({ spec, salt: randomBytes(32) })

/**
 * Seals each slot's spec to its recipients (X25519 keys of its node and of the readers), all under one root. Sealing
 * the same salted specs to others gives other blobs and the same root: that nothing else changed can be seen.
 */
export async function sealSpecs(
  specs: Salted[],
  recipients: (index: number) => Hex[],
): Promise<{ root: Hex; sealed: Sealed[] }> {
  const leaves = specs.map((s) => leafOf(s.spec, s.salt))
  const sealed: Sealed[] = []
  for (const [n, { spec, salt }] of specs.entries()) {
    const text = canonicalJson({
      format: 'zos-sealed-spec/1',
      salt: Buffer.from(salt).toString('hex'),
      proof: merkleProof(leaves, n),
      spec,
    })
    const to = new Set(recipients(n).filter((r) => BigInt(r) !== 0n))
    if (to.size === 0) throw new ZosError(`Seal slot ${spec.slot}: nobody could open it`, { code: 'no-recipient' })
    const age = new Encrypter()
    for (const seal of to) age.addRecipient(recipientOf(seal))
    const bytes = await age.encrypt(text)
    sealed.push({ bytes, blob: `0x${sha256Hex(bytes)}` })
  }
  return { root: merkleRoot(leaves), sealed }
}

/** A short TEXT to the readers with the keys TO alone, in base64. */
export async function sealText(text: string, to: readonly Hex[]): Promise<string> {
  const age = new Encrypter()
  for (const seal of to) age.addRecipient(recipientOf(seal))
  return Buffer.from(await age.encrypt(text)).toString('base64')
}

/** What `sealText` made, opened with SECRET; undefined for who is none of its readers. */
export async function openText(sealed: string, secret: Uint8Array): Promise<string | undefined> {
  const age = new Decrypter()
  age.addIdentity(identityOf(secret))
  try {
    return await age.decrypt(Buffer.from(sealed, 'base64'), 'text')
  } catch {
    return undefined
  }
}

/** What the signed transition says of the slot to be opened: its blob, and its place among how many under the root. */
export type Expected = { blob: Hex; specRoot: Hex; index: number; count: number }

/**
 * Opens a sealed spec, believing nothing: the file's hash, then the leaf and its path to the signed root. A swapped blob,
 * or one sealed with another spec inside, is refused.
 */
export async function openSealed(bytes: Uint8Array, secret: Uint8Array, expected: Expected): Promise<Salted> {
  const fail = (reason: string, code: string, cause?: unknown) =>
    new ZosError(`Open sealed spec "${expected.blob}": ${reason}`, { code, ...(cause === undefined ? {} : { cause }) })
  const found = `0x${sha256Hex(bytes)}`
  if (found !== expected.blob) throw fail(`the bytes have the hash "${found}"`, 'blob-mismatch')
  if (bytes.length > LIMIT) throw fail(`${bytes.length} bytes, above the limit of ${LIMIT}`, 'blob-too-large')
  let text: string
  try {
    const age = new Decrypter()
    age.addIdentity(identityOf(secret))
    text = await age.decrypt(bytes, 'text')
  } catch (cause) {
    throw fail('it is not sealed to this key', 'not-a-recipient', cause)
  }
  let content: z.infer<typeof sealedSchema>
  try {
    content = sealedSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw fail(`its content is malformed: ${reasonOf(cause).split('\n')[0]}`, 'bad-blob', cause)
  }
  const salt = Buffer.from(content.salt, 'hex')
  const root = rootFrom(leafOf(content.spec, salt), expected.index, expected.count, content.proof)
  if (root !== expected.specRoot) throw fail('its leaf is not under the root that was signed', 'leaf-mismatch')
  return { spec: content.spec, salt }
}
