import type { IncomingMessage } from 'node:http'
import { type ChunkBackend, open } from '#cas'
import { sha256Hex, ZosError } from '#codec'
import { readBody } from './body.ts'

/** The largest object in its stored form: a blob's limit and its prefix byte. */
const OBJECT_LIMIT = (256 << 20) + 1
/** Ids in one question for what is missing. */
const BATCH = 10_000

/** Why STORED may not be kept as ID; undefined when its bytes are what the id says. */
export type Check = (id: string, stored: Buffer) => string | undefined

export const byContent: Check = (id, stored) => {
  const opened = open(id, stored)
  return opened.ok ? undefined : opened.found
}

export function checkId(id: string): string {
  if (/^[0-9a-f]{64}$/.test(id)) return id
  throw new ZosError(`Find object "${id}": not 64 hex digits`, { code: 'bad-id' })
}

/** Keeps what a request carries, after looking at every byte of it: nobody can put one thing under another's id. */
export async function takeObject(backend: ChunkBackend, check: Check, id: string, req: IncomingMessage): Promise<void> {
  const stored = await readBody(req, OBJECT_LIMIT)
  const wrong = check(checkId(id), stored)
  if (wrong !== undefined) {
    throw new ZosError(`Keep object "${id}": the bytes sent are not its own (found: ${wrong})`, { code: 'bad-object' })
  }
  await backend.put(id, stored)
}

/** Which of IDS the hub lacks; those it has are marked as in use. */
export async function missing(backend: ChunkBackend, ids: unknown): Promise<string[]> {
  if (!Array.isArray(ids) || ids.length > BATCH || !ids.every((id) => typeof id === 'string'))
    throw new ZosError(`Ask for missing objects: give at most ${BATCH} ids`, { code: 'bad-request' })
  const lacking: string[] = []
  for (const id of ids as string[]) if (!(await backend.touch(checkId(id)))) lacking.push(id)
  return lacking
}

/** A sealed spec's name is the SHA-256 of its bytes. */
export function checkSpec(hash: string, bytes: Buffer): void {
  const found = sha256Hex(bytes)
  if (found !== hash)
    throw new ZosError(`Keep sealed spec "${hash}": the bytes sent have the hash "${found}"`, { code: 'bad-object' })
}
