import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Makes a rename or unlink in DIR last through a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

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
  const handle = await open(temporary, 'wx', options.mode ?? 0o644)
  try {
    await handle.writeFile(data)
    if (options.sync !== false) await handle.sync()
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
