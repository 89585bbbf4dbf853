import { ZosError } from '#codec'
import * as z from '#zod'
import { keyIdOf, type SigningKey, signedBy } from './keys.ts'
import type { Library } from './library.ts'

/** Ends in NUL: no other message of ours begins so. */
const DOMAIN = Buffer.from('zos zfl/1 manifest\0')

const Record = z.strictObject({ key: z.string(), signature: z.string() })

/** What is signed for a manifest: the domain, then the SHA-256 of its canonical bytes. */
const messageOf = (digest: string) => Buffer.concat([DOMAIN, Buffer.from(digest, 'hex')])

/** Signs the manifest DIGEST (hex), here and at the hub. */
export async function signManifest(library: Library, key: SigningKey, digest: string): Promise<void> {
  const record = JSON.stringify({ key: key.public, signature: key.sign(messageOf(digest)).toString('hex') })
  for (const records of [library.hubRecords, library.records]) {
    await records?.put(`signatures/${digest}`, keyIdOf(key.public), record)
  }
}

/** Refuses (`bad-signature`, `no-signature`) a manifest that the holder of KEY has not signed. */
export async function checkSignature(library: Library, digest: string, key: string): Promise<void> {
  const folder = `signatures/${digest}` as const
  const name = keyIdOf(key)
  const bytes = (await library.records.get(folder, name)) ?? (await library.hubRecords?.get(folder, name))
  if (!bytes) {
    throw new ZosError(`Check manifest "${digest}": no signature by "${key}" here or at the hub; publish it again`, {
      code: 'no-signature',
      details: { digest, key },
    })
  }
  let record: z.infer<typeof Record> | undefined
  try {
    record = Record.parse(JSON.parse(bytes.toString()))
  } catch {}
  if (record?.key !== key || !signedBy(key, messageOf(digest), Buffer.from(record.signature, 'hex'))) {
    throw new ZosError(`Check manifest "${digest}": the signature by "${key}" is wrong; do not run it`, {
      code: 'bad-signature',
      details: { digest, key },
    })
  }
}
