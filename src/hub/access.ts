import { readFileSync } from 'node:fs'
import { grants, inTurn } from '#cas'
import { codeOf, reasonOf, ZosError } from '#codec'
import { z } from '#npm'
import type { Asker, Askers } from './asker.ts'
import type { Groups } from './groups.ts'
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
  /** Runs ACT while nobody else works on the object: whether it is new, and whose it is, is found out and noted in one step. */
  alone<T>(id: string, act: () => Promise<T>): Promise<T>
  /** Refuses who may not upload BYTES more, else counts them; gives what takes them back. */
  upload(by: string | undefined, bytes: number): () => void
  /** Whether whoever asks may know of the object. */
  mayRead(id: string, asker: Asker): Promise<boolean>
  /** Throws if the asker says for whom they ask, but may not: they get the reason, and not that the object is absent. */
  explain(asker: Asker): Promise<void>
  /** Whose an upload into the domain SAID will be: everybody's (undefined), the signer's, or a group's that they belong to. */
  ownerOf(said: string | undefined, asker: Asker): Promise<string | undefined>
  /** Notes whose an upload is: a key's (64 hex digits), or a domain's. What is public already stays so. */
  own(id: string, owner: string, isNew: boolean): Promise<void>
  publish(id: string): Promise<void>
  used(): ReadonlyMap<string, number>
  flush(): Promise<void>
}

const nameless = 'sign the request: this hub takes uploads from known keys alone'

const isDomain = (owner: string): boolean => owner.includes('/')
const refuse = (reason: string) => new ZosError(reason, { code: 'not-authorized' })

export async function openAccess(
  named: Named,
  policy: Policy | undefined,
  { askers, groups }: { askers: Askers; groups: Groups | undefined },
): Promise<Access> {
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
  const saveUsage = async () => {
    for (const by of [...changed]) {
      changed.delete(by)
      await named.put('usage', by, Buffer.from(String(used.get(by)))).catch((error) => {
        changed.add(by)
        throw error
      })
    }
  }
  const turns = inTurn()
  return {
    limited: policy !== undefined,
    alone: turns,
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
    async mayRead(id, asker) {
      const list = owners.get(id)
      if (!list) return true
      const { by, grant } = asker
      if (by === undefined) return false
      if (list.includes(by) || grants(grant, { id, owners: list, reader: by })) return true
      if (!groups || asker.pass === undefined) return false
      try {
        const { domain, signer } = await askers.passOf(asker)
        for (const owner of list)
          if (isDomain(owner) && (domain === '*' || domain === owner) && (await groups.mayRead(owner, signer)))
            return true
      } catch (error) {
        if (codeOf(error) !== 'not-authorized') throw error
      }
      return false
    },
    async explain(asker) {
      // to a hub without a grid nobody can show for whom they ask: then they ask for themselves
      if (!groups || asker.pass === undefined) return
      const { domain, signer } = await askers.passOf(asker)
      if (domain !== '*' && !(await groups.mayRead(domain, signer)))
        throw refuse(
          `Read "${domain}": ${signer} is neither a member of the group nor a node its deployment is placed on`,
        )
    },
    async ownerOf(said, asker) {
      if (said === undefined || said === 'public') return undefined
      if (said === 'private') {
        if (asker.by) return asker.by
        throw refuse('Upload: sign the request: a private object has an owner')
      }
      const { domain, signer } = await askers.passOf(asker)
      if (domain !== said) throw refuse(`Upload into "${said}": what was signed is for "${domain}"`)
      if (!(await groups!.isMember(domain, signer)))
        throw refuse(`Upload into "${said}": ${signer} is no member of the group`)
      return domain
    },
    async own(id, owner, isNew) {
      const list = owners.get(id)
      if (!list && !isNew) return
      if (!list?.includes(owner)) await save(id, [...(list ?? []), owner])
    },
    async publish(id) {
      if (owners.has(id)) await save(id, [])
    },
    used: () => used,
    // one after the other: of two that write at once, the older number might be the last
    flush: () => turns('usage', saveUsage),
  }
}
