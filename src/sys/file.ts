import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ZosError } from '#codec'
import { sleep } from './clock.ts'
import { syncFd } from './ffi.ts'
import { errnoMessage } from './socket.ts'

/** Under a permission model Node has no fsync. What is written to a file opened by this is on disk when that is done. */
const SYNCED = process.permission ? constants.O_DSYNC : 0

async function syncNow(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    if (!SYNCED) return await handle.sync()
    const code = syncFd(handle.fd)
    if (code < 0) throw new ZosError(`Sync "${dir}": ${errnoMessage(code)}`, { code: 'sync-failed', kind: 'node' })
  } finally {
    await handle.close()
  }
}

const soon = new Map<string, Promise<void>>()
/** Milliseconds until the next sync: four times as long as the last one took. */
let rest = 0

/** The thread stands still during such a sync: one serves all who asked for it, and they take a fifth of the time at most. */
function syncTogether(dir: string): Promise<void> {
  const before = soon.get(dir)
  if (before) return before
  const syncing = sleep(rest).then(() => {
    soon.delete(dir)
    const begun = performance.now()
    return syncNow(dir).finally(() => {
      rest = 4 * (performance.now() - begun)
    })
  })
  soon.set(dir, syncing)
  return syncing
}

/** Makes a rename or unlink in DIR last through a power cut. */
export const syncDirectory = (dir: string): Promise<void> => (SYNCED ? syncTogether(dir) : syncNow(dir))

/**
 * Replaces PATH whole or not at all: temporary file beside it, fsync, rename. Creates missing folders.
 * `sync: false` leaves out the fsyncs, for what can be made anew. `fresh: true` replaces nothing: EEXIST when PATH is there.
 */
export async function writeAtomic(
  path: string,
  data: Uint8Array | string,
  options: { mode?: number; sync?: boolean; fresh?: boolean } = {},
): Promise<void> {
  const dir = dirname(path)
  await mkdir(dir, { recursive: true })
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`
  const synced = options.sync === false ? 0 : SYNCED
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | synced
  const handle = await open(temporary, flags, options.mode ?? 0o644)
  try {
    await handle.writeFile(data)
    if (options.sync !== false && !synced) await handle.sync()
    await handle.close()
    if (options.fresh) {
      await link(temporary, path)
      await rm(temporary)
    } else await rename(temporary, path)
  } catch (error) {
    await handle.close().catch(() => {})
    await rm(temporary, { force: true })
    throw error
  }
  if (options.sync !== false) await syncDirectory(dir)
}
