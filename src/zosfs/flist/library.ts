import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { dirBackend, openStore, type Store } from '#cas'
import { ZosError } from '#codec'
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
}

/**
 * Opens the library of HOME. HUB is `$ZOS_HUB`: `dir:PATH`, or nothing for the local store alone. LIMIT: bytes the
 * local cache may hold beside a hub.
 */
export function openLibrary(options: { home: string; hub?: string | undefined; limit?: number }): Library {
  const home = resolve(options.home)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  let hubDir: string | undefined
  if (options.hub) {
    hubDir = /^dir:(.+)$/.exec(options.hub)?.[1]
    if (!hubDir) {
      throw new ZosError(`Open hub "${options.hub}": not of the form dir:PATH; set ZOS_HUB so, or unset it`, {
        code: 'bad-hub',
      })
    }
    hubDir = resolve(hubDir)
  }
  const store = openStore({
    dir: join(home, 'cas'),
    temporary: join(home, 'tmp'),
    ...(hubDir ? { hub: dirBackend(hubDir, { temporary: join(hubDir, 'tmp') }) } : {}),
    ...(options.limit === undefined ? {} : { limit: options.limit }),
  })
  return {
    home,
    store,
    records: dirRecords(home),
    hubRecords: hubDir ? dirRecords(hubDir) : undefined,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}
