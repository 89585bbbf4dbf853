import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Bucket, type ChunkBackend, dirBackend, openBucket, parseBucketPlace, s3Backend } from '#cas'
import { codeOf } from '#codec'
import { writeAtomic } from '#sys'

/** What a hub keeps beside objects, by kind and 64 hex digits: sealed specs, traces, owners of private objects, usage. */
export type Named = {
  get(kind: string, name: string): Promise<Buffer | undefined>
  /** Durable when it returns, unless FAST: then a power cut may take it, but never half of it. */
  put(kind: string, name: string, bytes: Uint8Array, options?: { fast?: boolean }): Promise<void>
  names(kind: string): AsyncIterable<string>
}

/** Where a hub keeps things: a folder or a bucket. */
export type HubPlace = { objects: ChunkBackend; named: Named }

const NAME = /^[0-9a-f]{64}$/

export async function openPlace(text: string): Promise<HubPlace> {
  const bucket = parseBucketPlace(text)
  if (bucket) return bucketPlace(openBucket(bucket))
  // a folder with nothing in it would count as a disk not mounted
  await mkdir(join(text, 'specs'), { recursive: true })
  return dirPlace(text)
}

function dirPlace(dir: string): HubPlace {
  const none =
    <T>(empty: T) =>
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT') return empty
      throw error
    }
  const made = new Set<string>()
  return {
    objects: dirBackend(dir, { temporary: join(dir, 'tmp') }),
    named: {
      get: (kind, name) => readFile(join(dir, kind, name)).catch(none(undefined)),
      async put(kind, name, bytes, options = {}) {
        if (!made.has(kind)) await mkdir(join(dir, kind), { recursive: true })
        made.add(kind)
        await writeAtomic(join(dir, kind, name), bytes, { sync: !options.fast })
      },
      async *names(kind) {
        for (const name of await readdir(join(dir, kind)).catch(none<string[]>([]))) if (NAME.test(name)) yield name
      },
    },
  }
}

function bucketPlace(bucket: Bucket): HubPlace {
  return {
    objects: s3Backend(bucket),
    named: {
      get: (kind, name) => bucket.get(`${kind}/${name}`),
      put: (kind, name, bytes) => bucket.put(`${kind}/${name}`, bytes),
      async *names(kind) {
        for await (const { key } of bucket.list(`${kind}/`)) yield key.slice(kind.length + 1)
      },
    },
  }
}
