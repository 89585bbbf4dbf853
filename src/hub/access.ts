import { readFileSync } from 'node:fs'
import { grants } from '#cas'
import { reasonOf, ZosError } from '#codec'
import { z } from '#npm'
import type { Named } from './place.ts'

const key = z.string().regex(/^[0-9a-f]{64}$/, 'take the 64 hex digits of an Ed25519 key')
const policySchema = z.strictObject({
  /** Who may upload, and how many stored bytes each. */
  uploaders: z.array(z.strictObject({ key, name: z.string().max(64), quota: z.int().positive() })).max(10_000),
})
export type Policy = z.infer<typeof policySchema>

export function readPolicy(file: string): Policy {
  try {
    return policySchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new ZosError(`Read access file "${file}": ${reasonOf(cause).split('\n')[0]}`, { code: 'bad-policy', cause })
  }
}

/** Who may do what at a hub; without a policy everybody who reaches it may read and upload. */
export type Access = {
  /** Whether uploads are counted. */
  limited: boolean
  /** Refuses who may not upload BYTES more, else counts them; gives what takes them back. */
  upload(by: string | undefined, bytes: number): () => void
  /** Whether whoever asks may know of the object. */
  mayRead(id: string, by: string | undefined, grant: string | undefined): boolean
  /** Notes an upload's domain: private to BY, or public. What is public already stays so. */
  own(id: string, by: string, isNew: boolean): Promise<void>
  publish(id: string): Promise<void>
  used(): ReadonlyMap<string, number>
  flush(): Promise<void>
}

const nameless = 'sign the request: this hub takes uploads from known keys alone'

export async function openAccess(named: Named, policy: Policy | undefined): Promise<Access> {
  const owners = new Map<string, string[]>()
  for await (const id of named.names('private')) {
    const list = JSON.parse(((await named.get('private', id)) ?? '[]').toString()) as string[]
    if (list.length > 0) owners.set(id, list)
  }
  const used = new Map<string, number>()
  const changed = new Set<string>()
  for await (const name of named.names('usage')) used.set(name, Number((await named.get('usage', name))?.toString()))
  const save = async (id: string, list: string[]) => {
    await named.put('private', id, Buffer.from(JSON.stringify(list)))
    if (list.length > 0) owners.set(id, list)
    else owners.delete(id)
  }
  return {
    limited: policy !== undefined,
    upload(by, bytes) {
      if (!policy) return () => {}
      const who = policy.uploaders.find((u) => u.key === by)
      if (!by || !who) throw new ZosError(`Upload: ${nameless}`, { code: 'not-authorized' })
      const now = used.get(by) ?? 0
      if (now + bytes > who.quota)
        throw new ZosError(
          `Upload: "${who.name}" has ${who.quota - now} of ${who.quota} bytes left, this is ${bytes}`,
          {
            code: 'over-quota',
          },
        )
      const add = (n: number) => {
        used.set(by, (used.get(by) ?? 0) + n)
        changed.add(by)
      }
      add(bytes)
      return () => add(-bytes)
    },
    mayRead(id, by, grant) {
      const list = owners.get(id)
      if (!list) return true
      return by !== undefined && (list.includes(by) || grants(grant, { id, owners: list, reader: by }))
    },
    async own(id, by, isNew) {
      const list = owners.get(id)
      if (!list && !isNew) return
      if (!list?.includes(by)) await save(id, [...(list ?? []), by])
    },
    async publish(id) {
      if (owners.has(id)) await save(id, [])
    },
    used: () => used,
    async flush() {
      for (const by of [...changed]) {
        changed.delete(by)
        await named.put('usage', by, Buffer.from(String(used.get(by))))
      }
    },
  }
}
