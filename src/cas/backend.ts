import type { FileHandle } from 'node:fs/promises'
import type { Place } from './dir_sync.ts'

/** An object at rest: id (64 hex digits), bytes stored, when it was last written or claimed (ms since 1970). */
export type Stored = { id: string; bytes: number; mtime: number }

/**
 * Where stored objects are kept. Ids are 64 lower-case hex digits; back ends neither read nor check the bytes.
 * A back end that cannot be reached throws ZosError `source-away`; absence is a return value.
 * Every one must pass conformance.ts.
 */
export type ChunkBackend = {
  /** For messages: `dir:/srv/hub`. */
  readonly label: string
  /** The stored form; undefined when there is none. */
  get(id: string): Promise<Buffer | undefined>
  /** Whole or not at all; replaces. Lasts only after flush(). */
  put(id: string, stored: Uint8Array): Promise<void>
  has(id: string): Promise<boolean>
  /** Marks the object as in use now, so that a collection spares it; false when it is not there. */
  touch(id: string): Promise<boolean>
  /** False when it was not there. */
  delete(id: string): Promise<boolean>
  /** Deletes it unless it was written or touched at BEFORE (ms) or later, also by another process at this very moment. */
  deleteOlder(id: string, before: number): Promise<boolean>
  list(): AsyncIterable<Stored>
  /** Returns once everything put so far survives a power cut. */
  flush(): Promise<void>
  /** The stored form where it is a file, to be read in parts and closed by who asked; undefined when there is none. */
  readonly file?: (id: string) => Promise<FileHandle | undefined>
  /** A folder that a worker thread may write to itself; it is told of what flush() must see to. */
  readonly direct?: Place & { unflushed(id: string): void }
}
