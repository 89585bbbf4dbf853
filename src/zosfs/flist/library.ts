import { join, resolve } from 'node:path'
import {
  type ChunkBackend,
  dirBackend,
  type HubCall,
  httpBackend,
  hubCall,
  hubsOf,
  openStore,
  parseHttpPlace,
  type Store,
  severalBackends,
} from '#cas'
import { ZosError } from '#codec'
import { makeFolder } from '#sys'
import { dirRecords, type Records } from './records.ts'

/** A home's images: the chunks, and the signed records that name them. */
export type Library = AsyncDisposable & {
  /** `$ZOS_HOME` */
  readonly home: string
  readonly store: Store
  /** Tags and signatures as this home last accepted them. */
  readonly records: Records
  /** Those at the hub; undefined without one. */
  readonly hubRecords: Records | undefined
  /** What the hub knows of starts, by the digest of the manifest; undefined without one. */
  readonly hubHints: Hints | undefined
}

/** Advice anybody may have given: nothing may be wrong for having taken it. */
export type Hints = {
  get(digest: string): Promise<Buffer | undefined>
  put(digest: string, bytes: Uint8Array): Promise<void>
}

/**
 * Opens the library of HOME. HUB is `$ZOS_HUB`: `dir:PATH`, `http://HOST:PORT` or `http+unix:SOCKET`, several with commas
 * between them (chunks from any, tags from the first that has tags), or nothing for the local store alone. A hub over HTTP has
 * chunks only, no tags: who uses one names manifests by digest. LIMIT: bytes the local cache may hold beside a hub.
 */
export function openLibrary(options: { home: string; hub?: string | undefined; limit?: number }): Library {
  const home = resolve(options.home)
  makeFolder(home, 0o700)
  const hub = options.hub ? openHub(options.hub) : undefined
  const store = openStore({
    dir: join(home, 'cas'),
    temporary: join(home, 'tmp'),
    ...(hub ? { hub: hub.backend } : {}),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  })
  return {
    home,
    store,
    records: dirRecords(home),
    hubRecords: hub?.records,
    hubHints: hub?.hints,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

type Hub = { backend: ChunkBackend; records: Records | undefined; hints: Hints }

function openHub(text: string): Hub {
  const hubs = hubsOf(text).map(openOneHub)
  const backend = severalBackends(hubs.map((h) => h.backend))
  return { ...hubs[0]!, backend, records: hubs.find((h) => h.records)?.records }
}

function openOneHub(text: string): Hub {
  const path = /^dir:(.+)$/.exec(text)?.[1]
  if (path) {
    const dir = resolve(path)
    const records = dirRecords(dir)
    return {
      backend: dirBackend(dir, { temporary: join(dir, 'tmp') }),
      records,
      hints: { get: (digest) => records.get('traces', digest), put: (digest, b) => records.put('traces', digest, b) },
    }
  }
  const place = parseHttpPlace(text)
  if (place) return { backend: httpBackend(place, text), records: undefined, hints: httpHints(hubCall(place, text)) }
  throw new ZosError(`Open hub "${text}": not of the form dir:PATH or http://HOST:PORT; set ZOS_HUB so, or unset it`, {
    code: 'bad-hub',
  })
}

const httpHints = (call: HubCall): Hints => ({
  async get(digest) {
    const { status, body } = await call('GET', `/traces/${digest}`)
    return status === 404 ? undefined : body
  },
  async put(digest, bytes) {
    await call('PUT', `/traces/${digest}`, bytes)
  },
})
