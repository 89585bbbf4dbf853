import { type ChunkBackend, open } from '#cas'
import { sha256Hex, ZosError } from '#codec'
import type { Access } from './access.ts'
import type { Asker } from './asker.ts'

/** Ids in one question for what is missing, and in one for what there is. */
const MISSING_IDS = 10_000
const BATCH_IDS = 512
/** Bytes of one batch; what comes behind is to be asked for again. */
const BATCH_BYTES = 64 << 20

/** Why STORED may not be kept as ID; undefined when its bytes are what the id says. */
export type Check = (id: string, stored: Buffer) => string | undefined

export const byContent: Check = (id, stored) => {
  const opened = open(id, stored)
  return opened.ok ? undefined : opened.found
}

export function checkId(id: unknown): string {
  if (typeof id === 'string' && /^[0-9a-f]{64}$/.test(id)) return id
  throw new ZosError(`Find object "${String(id).slice(0, 80)}": not 64 hex digits`, { code: 'bad-id' })
}

/** BY pays for it; OWNER is whose it is, undefined: everybody's. */
export type Upload = { id: string; stored: Buffer; by: string | undefined; owner: string | undefined }

/** Keeps an object, after looking at every byte of it: nobody can put one thing under another's id. */
export const takeObject = (objects: ChunkBackend, access: Access, check: Check, u: Upload): Promise<void> =>
  access.alone(u.id, () => takeAlone(objects, access, check, u))

async function takeAlone(objects: ChunkBackend, access: Access, check: Check, u: Upload): Promise<void> {
  const { id, stored, by, owner } = u
  // whether it is new matters to quotas and owners alone
  const isNew = (access.limited || owner !== undefined) && !(await objects.has(id))
  const undo = access.upload(by, isNew ? stored.length : 0)
  try {
    const wrong = check(id, stored)
    if (wrong !== undefined)
      throw new ZosError(`Keep object "${id}": the bytes sent are not its own (found: ${wrong})`, {
        code: 'bad-object',
      })
    // its owner first: killed in between, there is an owner without an object, never an object everybody may read
    if (owner !== undefined) await access.own(id, owner, isNew)
    await objects.put(id, stored)
    if (owner === undefined) await access.publish(id)
  } catch (error) {
    undo()
    throw error
  }
}

function idsOf(ids: unknown, most: number): string[] {
  if (Array.isArray(ids) && ids.length <= most) return ids.map(checkId)
  throw new ZosError(`Ask for objects: give at most ${most} ids`, { code: 'bad-request' })
}

/** Which of IDS the hub lacks, or keeps for others; those it has are marked as in use. */
export async function missing(objects: ChunkBackend, access: Access, ids: unknown, who: Asker): Promise<string[]> {
  const lacking: string[] = []
  for (const id of idsOf(ids, MISSING_IDS))
    if (!(await access.mayRead(id, who)) || !(await objects.touch(id))) lacking.push(id)
  return lacking
}

/** Instead of a length: there is none, or no more room in this batch. */
const [ABSENT, LATER] = [0xffffffff, 0xfffffffe]

/** Each of IDS in order: u32 length (big endian), then the stored bytes. */
export function batch(objects: ChunkBackend, access: Access, ids: unknown, who: Asker): AsyncIterable<Uint8Array> {
  const wanted = idsOf(ids, BATCH_IDS)
  const head = (n: number) => {
    const b = Buffer.alloc(4)
    b.writeUInt32BE(n)
    return b
  }
  return (async function* () {
    let left = BATCH_BYTES
    for (const id of wanted) {
      if (left < 0) {
        yield head(LATER)
        continue
      }
      const stored = (await access.mayRead(id, who)) ? await objects.get(id) : undefined
      left -= stored?.length ?? 0
      if (stored) yield* [head(stored.length), stored]
      else yield head(ABSENT)
    }
  })()
}

/** A sealed spec's name is the SHA-256 of its bytes. */
export function checkSpec(hash: string, bytes: Buffer): void {
  const found = sha256Hex(bytes)
  if (found !== hash)
    throw new ZosError(`Keep sealed spec "${hash}": the bytes sent have the hash "${found}"`, { code: 'bad-object' })
}
