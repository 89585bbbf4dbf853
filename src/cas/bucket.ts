import type { AwsClient } from 'aws4fetch'
import { reasonOf, sha256Hex, ZosError } from '#codec'

/** A bucket by path-style address: any S3 (AWS, radosgw, Garage, MinIO…). PREFIX is '' or ends in "/". */
export type BucketPlace = { endpoint: string; bucket: string; prefix: string }

/** No answer for this long and the bucket counts as away. Milliseconds. */
const DEADLINE = 60_000
/** The time of an object's last use, in its metadata: S3's own is in whole seconds. */
const USED = 'x-amz-meta-used'

/** Reads `s3:http(s)://HOST[:PORT]/BUCKET[/PREFIX]`; undefined when TEXT is none. */
export function parseBucketPlace(text: string): BucketPlace | undefined {
  const url = text.startsWith('s3:') && URL.canParse(text.slice(3)) ? new URL(text.slice(3)) : undefined
  const [bucket = '', ...rest] = url?.pathname.slice(1).split('/') ?? []
  if (!url || !/^https?:$/.test(url.protocol) || !/^[a-z0-9][a-z0-9.-]{1,62}$/.test(bucket) || url.search)
    return undefined
  const prefix = rest.filter((part) => part !== '').map((part) => `${part}/`)
  return { endpoint: url.origin, bucket, prefix: prefix.join('') }
}

export type Listed = { key: string; bytes: number; mtime: number }

/** The few calls of S3 that a store needs; absence is a return value, a bucket out of reach is `source-away`. */
export type Bucket = {
  readonly label: string
  get(key: string): Promise<Buffer | undefined>
  /** Whole or not at all, and durable when it returns. */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** When the object was last written or touched (ms); undefined when there is none. */
  used(key: string): Promise<number | undefined>
  /** Sets that time to now; false when there is none. */
  touch(key: string): Promise<boolean>
  delete(key: string): Promise<void>
  list(prefix: string): AsyncIterable<Listed>
}

/** Credentials as every S3 tool takes them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION (us-east-1). */
export function openBucket(place: BucketPlace, env: NodeJS.ProcessEnv = process.env): Bucket {
  const label = `s3:${place.endpoint}/${place.bucket}`
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region } = env
  if (!accessKeyId || !secretAccessKey)
    throw new ZosError(`Open "${label}": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`, { code: 'no-credentials' })
  let client: Promise<AwsClient> | undefined
  const base = `${place.endpoint}/${place.bucket}`
  const urlOf = (key: string) => `${base}/${place.prefix}${key}`
  const away = (what: string, reason: string, cause?: unknown) =>
    new ZosError(`${what} in "${label}": ${reason}`, {
      code: 'source-away',
      kind: 'node',
      ...(cause === undefined ? {} : { cause }),
    })

  /** The answer's body and headers; undefined where S3 says NoSuchKey, and that alone. */
  const call = async (what: string, url: string, init: RequestInit & { body?: Uint8Array<ArrayBuffer> }) => {
    // only whoever uses a bucket loads the client
    client ??= import('aws4fetch').then(
      ({ AwsClient }) =>
        new AwsClient({ accessKeyId, secretAccessKey, region: region || 'us-east-1', service: 's3', retries: 2 }),
    )
    const headers = { ...init.headers, 'x-amz-content-sha256': sha256Hex(init.body ?? Buffer.alloc(0)) }
    let response: Response
    let body: Buffer
    try {
      response = await (await client).fetch(url, { ...init, headers, signal: AbortSignal.timeout(DEADLINE) })
      body = Buffer.from(await response.arrayBuffer())
    } catch (cause) {
      throw away(what, reasonOf(cause), cause)
    }
    // a copy may fail behind a status of 200
    const failed = !response.ok || (init.method === 'PUT' && body.includes('<Error>'))
    if (!failed) return { headers: response.headers, body }
    const code = /<Code>([^<]+)<\/Code>/.exec(body.toString('latin1'))?.[1] ?? `status ${response.status}`
    if (code === 'NoSuchKey') return undefined
    throw away(what, code)
  }
  /** One byte of it: a HEAD's answer has no body, and could not tell a missing object from a missing bucket. */
  const look = (key: string) => call('Look for object', urlOf(key), { method: 'GET', headers: { range: 'bytes=0-0' } })
  const timeOf = (headers: Headers) => Number(headers.get(USED) ?? Date.parse(headers.get('last-modified') ?? ''))
  return {
    label,
    get: async (key) => (await call('Read object', urlOf(key), { method: 'GET' }))?.body,
    async put(key, bytes) {
      const headers = { [USED]: String(Date.now()), 'content-type': 'application/octet-stream' }
      const body = new Uint8Array(bytes)
      if (!(await call('Write object', urlOf(key), { method: 'PUT', headers, body })))
        throw away('Write object', 'NoSuchKey')
    },
    async used(key) {
      const found = await look(key)
      return found && timeOf(found.headers)
    },
    async touch(key) {
      const headers = {
        'x-amz-copy-source': `/${place.bucket}/${place.prefix}${key}`,
        'x-amz-metadata-directive': 'REPLACE',
        [USED]: String(Date.now()),
      }
      return (await call('Claim object', urlOf(key), { method: 'PUT', headers })) !== undefined
    },
    async delete(key) {
      await call('Delete object', urlOf(key), { method: 'DELETE' })
    },
    async *list(prefix) {
      for (let after: string | undefined = ''; after !== undefined; ) {
        const query = new URLSearchParams({ 'list-type': '2', prefix: place.prefix + prefix })
        if (after) query.set('continuation-token', after)
        const found = await call('List objects', `${base}?${query}`, { method: 'GET' })
        const xml = found?.body.toString() ?? ''
        for (const [, item] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)) {
          const field = (name: string) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(item!)?.[1] ?? ''
          const key = field('Key').slice(place.prefix.length)
          yield { key, bytes: Number(field('Size')), mtime: Date.parse(field('LastModified')) }
        }
        after = /<NextContinuationToken>([^<]+)</.exec(xml)?.[1]
      }
    },
  }
}
