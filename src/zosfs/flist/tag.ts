import { canonicalJson, ZosError } from '#codec'
import * as z from '#zod'
import { keepSigningKey, keyIdOf, makeSigningKey, type SigningKey, signedBy, signingKey } from './keys.ts'
import type { Library } from './library.ts'

const matching = (pattern: RegExp) => z.string().check(z.regex(pattern))
const hex32 = matching(/^[0-9a-f]{64}$/)
const hex64 = matching(/^[0-9a-f]{128}$/)

const Tag = z.strictObject({
  format: z.literal('zos-tag/1'),
  name: z.string(),
  /** SHA-256 of the manifest's canonical bytes. */
  digest: hex32,
  /** dm-verity root of the tree. */
  root: hex32,
  /** Bytes of file content. */
  size: z.int().check(z.minimum(0)),
  /** Goes up by one or more with each publish under this name. */
  counter: z.int().check(z.minimum(1)),
  /** Seconds since 1970. */
  issued: z.int(),
  expires: z.int(),
  /** The signer's public key. */
  key: hex32,
  signature: hex64,
})

/** A signed statement that a name means a manifest. */
export type Tag = z.infer<typeof Tag>

const Rotation = z.strictObject({
  format: z.literal('zos-rotation/1'),
  from: hex32,
  to: hex32,
  issued: z.int(),
  signature: hex64,
})

/** A year: long enough for an image nobody touches, short enough that a frozen mirror is noticed. Seconds. */
const TAG_LIFETIME = 365 * 86_400
/** Keys a name may have had, one after the other. */
const ROTATIONS = 16
const NAME = /^[a-zA-Z0-9][\w.:/@-]{0,127}$/

const messageOf = (record: object): Buffer => {
  const { signature: _, ...rest } = record as { signature?: string }
  return Buffer.from(canonicalJson(rest)) // names its format, which is what separates it from other messages
}

/** Refuses names that are no tag (`bad-tag-name`). */
export function checkTagName(name: string): void {
  if (NAME.test(name)) return
  throw new ZosError(`Use tag "${name}": not 1 to 128 letters, digits and ". _ - / : @", a letter or digit first`, {
    code: 'bad-tag-name',
  })
}

function read(name: string, bytes: Buffer, where: string): Tag {
  let tag: Tag
  try {
    tag = Tag.parse(JSON.parse(bytes.toString()))
  } catch (cause) {
    throw new ZosError(`Read tag "${name}" from "${where}": it is damaged; publish it again`, {
      code: 'bad-tag',
      cause,
    })
  }
  if (tag.name !== name || !signedBy(tag.key, messageOf(tag), Buffer.from(tag.signature, 'hex'))) {
    throw new ZosError(`Read tag "${name}" from "${where}": its signature is wrong; do not use it`, {
      code: 'bad-signature',
      details: { name, key: tag.key, where },
    })
  }
  return tag
}

/** True when a chain of rotations at the hub, each signed by the key before, leads from key FROM to key TO. */
async function rotated(library: Library, from: string, to: string): Promise<boolean> {
  let key = from
  for (let n = 0; n < ROTATIONS && key !== to; n++) {
    const id = keyIdOf(key)
    const bytes = (await library.records.get('rotations', id)) ?? (await library.hubRecords?.get('rotations', id))
    const record = bytes && Rotation.safeParse(JSON.parse(bytes.toString())).data
    if (!record || record.from !== key || !signedBy(key, messageOf(record), Buffer.from(record.signature, 'hex')))
      return false
    key = record.to
  }
  return key === to
}

const refuse = (tag: Tag, code: string, why: string): never => {
  throw new ZosError(`Use tag "${tag.name}": ${why}`, { code, details: { ...tag } })
}

/**
 * What NAME means now; undefined when it is nowhere. The hub's record counts when it can be reached, and is remembered
 * here: one that is older than the last seen (`tag-rollback`), expired (`tag-expired`), by another key (`tag-wrong-key`)
 * or not what its key signed (`bad-signature`) is refused.
 */
export async function resolveTag(library: Library, name: string, now = Date.now() / 1000): Promise<Tag | undefined> {
  checkTagName(name)
  const seenBytes = await library.records.get('tags', name)
  const seen = seenBytes && read(name, seenBytes, library.records.label)
  let away: unknown
  const offeredBytes = await library.hubRecords?.get('tags', name).catch((error) => {
    away = error
    return undefined
  })
  const offered = offeredBytes && read(name, offeredBytes, library.hubRecords!.label)
  const tag = offered ?? seen
  if (!tag) {
    if (away) throw away
    return undefined
  }
  if (offered && seen && offered.signature !== seen.signature) {
    if (offered.counter <= seen.counter) {
      const why = `the hub offers number ${offered.counter}, number ${seen.counter} was seen before; an old tag is replayed`
      refuse(offered, 'tag-rollback', why)
    }
    if (offered.key !== seen.key && !(await rotated(library, seen.key, offered.key))) {
      refuse(
        offered,
        'tag-wrong-key',
        `it is signed by "${offered.key}", before it was "${seen.key}", which did not hand over`,
      )
    }
  }
  if (tag.expires < now) {
    refuse(tag, 'tag-expired', `it expired on ${new Date(tag.expires * 1000).toISOString()}; publish it again`)
  }
  if (offered && offered.signature !== seen?.signature) await library.records.put('tags', name, offeredBytes)
  return tag
}

/** Signs NAME for a manifest and writes it, last of all a publish does: the hub first, then here. */
export async function writeTag(
  library: Library,
  key: SigningKey,
  facts: { name: string; digest: string; root: string; size: number },
  options: { now?: number; lifetime?: number } = {},
): Promise<Tag> {
  checkTagName(facts.name)
  const counters = [library.records, library.hubRecords].map(async (records) => {
    const bytes = await records?.get('tags', facts.name)
    try {
      return bytes ? read(facts.name, bytes, records!.label).counter : 0
    } catch {
      return 0 // a damaged or forged record is what this one replaces
    }
  })
  const issued = Math.floor(options.now ?? Date.now() / 1000)
  const unsigned = {
    format: 'zos-tag/1' as const,
    ...facts,
    counter: Math.max(...(await Promise.all(counters))) + 1,
    issued,
    expires: issued + (options.lifetime ?? TAG_LIFETIME),
    key: key.public,
  }
  const tag: Tag = { ...unsigned, signature: key.sign(messageOf(unsigned)).toString('hex') }
  for (const records of [library.hubRecords, library.records]) await records?.put('tags', tag.name, JSON.stringify(tag))
  return tag
}

/** Forgets NAME here and at the hub; false when there was none. Its chunks go with the next collection. */
export async function removeTag(library: Library, name: string): Promise<boolean> {
  checkTagName(name)
  const places = [library.hubRecords, library.records].filter((r) => r !== undefined)
  const found = await Promise.all(places.map((records) => records.get('tags', name)))
  for (const records of places) await records.delete('tags', name)
  return found.some((bytes) => bytes !== undefined)
}

/** Every name, resolved; what cannot be used comes with its reason. Sorted by name. */
export async function listTags(
  library: Library,
): Promise<({ name: string; tag: Tag } | { name: string; error: unknown })[]> {
  const there = await library.hubRecords?.list('tags').catch(() => [])
  const names = [...new Set([...(await library.records.list('tags')), ...(there ?? [])])].sort()
  const listed: ({ name: string; tag: Tag } | { name: string; error: unknown })[] = []
  for (const name of names) {
    try {
      const tag = await resolveTag(library, name)
      if (tag) listed.push({ name, tag })
    } catch (error) {
      listed.push({ name, error })
    }
  }
  return listed
}

/** Makes a new signing key, and has the old one sign that it hands over: tags of the new key are accepted for its names. */
export async function rotateKey(library: Library, now = Date.now() / 1000): Promise<{ from: string; to: string }> {
  const old = await signingKey(library.home)
  const next = makeSigningKey()
  const unsigned = { format: 'zos-rotation/1', from: old.public, to: next.public, issued: Math.floor(now) }
  const record = JSON.stringify({ ...unsigned, signature: old.sign(messageOf(unsigned)).toString('hex') })
  for (const records of [library.hubRecords, library.records])
    await records?.put('rotations', keyIdOf(old.public), record)
  await keepSigningKey(library.home, next) // last: until now the old one still signs
  return { from: old.public, to: next.public }
}
