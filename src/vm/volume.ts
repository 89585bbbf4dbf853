import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { codeOf, reasonOf, ZosError } from '#codec'
import { run, syncDirectory } from '#sys'
import type { Machine } from './machine.ts'

const SMALLEST = 16 << 20

/**
 * Makes PATH an ext4 of SIZE bytes with a journal: what a guest fsynced survives the host's crash. Whole or not at all.
 * Throws `volume-exists` when PATH is there.
 */
export async function createVolume(path: string, size: number): Promise<void> {
  if (!Number.isSafeInteger(size) || size < SMALLEST)
    throw new ZosError(`Make volume: ${size} bytes are too few for a file system; use ${SMALLEST} or more`, {
      code: 'bad-volume-size',
    })
  const exists = await stat(path).catch(() => undefined)
  if (exists) throw new ZosError(`Make volume "${path}": it is there already`, { code: 'volume-exists' })
  const temporary = `${path}.tmp`
  await rm(temporary, { force: true })
  try {
    const file = await open(temporary, 'wx', 0o600)
    await file.truncate(size)
    await file.close()
    const zeroed = 'lazy_itable_init=0,lazy_journal_init=1,assume_storage_prezeroed=1'
    await run('mkfs.ext4', ['-q', '-F', '-b', '4096', '-m', '0', '-E', zeroed, temporary])
    const made = await open(temporary, 'r+')
    await made.sync()
    await made.close()
    await rename(temporary, path)
    await syncDirectory(dirname(path))
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Grows a volume no VM holds. Smaller than it is: throws `bad-volume-size`; the same size does nothing. */
export async function growVolume(path: string, size: number): Promise<void> {
  await checkGrowth(path, size)
  const file = await open(path, 'r+')
  await file.truncate(size)
  await file.sync()
  await file.close()
  // resize2fs refuses a file system that was not checked; -p repairs only what is safe to
  await run('e2fsck', ['-fp', path], { timeout: 600_000 }).catch((error) => {
    // exit 1: errors were corrected (e2fsck(8))
    if ((error as ZosError).details?.code !== 1) throw error
  })
  await run('resize2fs', [path], { timeout: 600_000 })
}

/**
 * Puts the volume PATH in the place of SERIAL, a disk that a running VM has and nobody claimed. Throws what QEMU or the file's
 * opening says; the VM is then of no use to who wants the volume.
 */
export async function giveVolume(machine: Machine, serial: string, path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    const set = await machine.qmp.giveFile(file.fd)
    const filename = `/dev/fdset/${set}`
    // as args.ts gives a disk that is there from the start
    const node = { driver: 'file', 'node-name': serial, filename, discard: 'unmap', cache: { 'no-flush': false } }
    await machine.qmp.ask('blockdev-add', node)
    await machine.qmp.ask('qom-set', { path: `/machine/peripheral/${serial}`, property: 'drive', value: serial })
  } catch (error) {
    throw new ZosError(`Give volume "${path}" to VM "${machine.record.id}": ${reasonOf(error)}`, {
      code: codeOf(error),
      kind: 'node',
      cause: error,
    })
  } finally {
    await file.close()
  }
}

/** Grows the volume PATH, which a running VM has as SERIAL: the disk alone, its file system by the guest. Throws as growVolume does. */
export async function growDisk(machine: Machine, serial: string, path: string, size: number): Promise<void> {
  await checkGrowth(path, size)
  await machine.qmp.ask('block_resize', { 'node-name': serial, size })
  const file = await open(path, 'r+')
  await file.sync()
  await file.close()
}

async function checkGrowth(path: string, size: number): Promise<void> {
  const now = (await stat(path)).size
  if (size < now || size % 4096 !== 0)
    throw new ZosError(`Grow volume "${path}": ${size} bytes are less than its ${now}, or no multiple of 4096`, {
      code: 'bad-volume-size',
      details: { now, size },
    })
}
