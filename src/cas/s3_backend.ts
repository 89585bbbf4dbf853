import type { ChunkBackend } from './backend.ts'
import type { Bucket } from './bucket.ts'
import { inTurn } from './merged.ts'

/**
 * Objects in an S3 bucket, under `objects/ID`. One process at a time may delete (a hub): S3 has no delete that spares what
 * was touched a moment ago, so touches and deletes of one object take turns here.
 */
export function s3Backend(bucket: Bucket): ChunkBackend {
  const keyOf = (id: string) => `objects/${id}`
  const turns = inTurn()
  const remove = async (id: string, before: number) => {
    const used = await bucket.used(keyOf(id))
    if (used === undefined || used >= before) return false
    await bucket.delete(keyOf(id))
    return true
  }
  return {
    label: bucket.label,
    get: (id) => bucket.get(keyOf(id)),
    put: (id, stored) => turns(id, () => bucket.put(keyOf(id), stored)),
    has: async (id) => (await bucket.used(keyOf(id))) !== undefined,
    touch: (id) => turns(id, () => bucket.touch(keyOf(id))),
    delete: (id) => turns(id, () => remove(id, Number.POSITIVE_INFINITY)),
    deleteOlder: (id, before) => turns(id, () => remove(id, before)),
    async *list() {
      for await (const { key, bytes, mtime } of bucket.list('objects/')) yield { id: key.slice(8), bytes, mtime }
    },
    // S3 answers a PUT when the object is durable
    flush: async () => {},
  }
}
