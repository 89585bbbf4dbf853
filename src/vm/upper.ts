import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ZosError } from '#codec'
import { dataRanges, run, tryRun } from '#sys'

/** An ext4 as the few blocks in which it differs from zeroes: a writable layer is made by writing those. */
export type UpperTemplate = { size: number; extents: { offset: number; data: Buffer }[] }

const BLOCK = 4096
const ZERO = Buffer.alloc(BLOCK)
const PIECE = 1 << 20
const BYTES_PER_INODE = 32768
const INODE_SIZE = 256

/**
 * No journal: a writable layer need not survive a host's crash, and 64 MiB of journal per container is what it would
 * write first. Tables are known to be zero, so that no guest spends its first minute zeroing them.
 */
const FORMAT = [
  ['-q', '-F', '-b', `${BLOCK}`, '-m', '0', '-i', `${BYTES_PER_INODE}`, '-I', `${INODE_SIZE}`, '-L', 'upper'],
  ['-O', '^has_journal,^resize_inode,sparse_super2'],
  ['-E', 'lazy_itable_init=0,assume_storage_prezeroed=1,packed_meta_blocks=1,num_backup_sb=0'],
].flat()

/** Makes the template, about 50 ms, once per daemon. SCRATCH: a folder for a file that is gone afterwards. */
export async function makeUpperTemplate(scratch: string, size = 16 * 2 ** 30): Promise<UpperTemplate> {
  await mkdir(scratch, { recursive: true })
  const base = join(scratch, `upper-${randomBytes(4).toString('hex')}`)
  try {
    await createSparse(base, size)
    await run('mkfs.ext4', [...FORMAT, base])
    return await readUpper(base)
  } finally {
    await rm(base, { force: true })
  }
}

async function createSparse(path: string, size: number): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.truncate(size)
  } finally {
    await file.close()
  }
}

/** The writable layer in the file PATH, as what in it is not zero. */
export async function readUpper(path: string): Promise<UpperTemplate> {
  const extents: UpperTemplate['extents'] = []
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    for (const [from, to] of dataRanges(file.fd)) {
      for (let at = from; at < to; at += PIECE) await addNonZero(extents, file, at, Math.min(at + PIECE, to))
    }
    return { size, extents }
  } finally {
    await file.close()
  }
}

async function addNonZero(extents: UpperTemplate['extents'], file: FileHandle, from: number, to: number) {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(to - from), 0, to - from, from)
  for (let n = 0; n < bytesRead; n += BLOCK) {
    const block = buffer.subarray(n, Math.min(n + BLOCK, bytesRead))
    if (block.equals(ZERO.subarray(0, block.length))) continue
    const last = extents.at(-1)
    const joins = last !== undefined && last.offset + last.data.length === from + n
    if (joins) last.data = Buffer.concat([last.data, block])
    else extents.push({ offset: from + n, data: Buffer.from(block) })
  }
}

/** Makes the sparse file PATH (mode 0600) with what TEMPLATE holds. Nothing is fsynced: it dies with its VM. */
export async function writeUpper(template: UpperTemplate, path: string): Promise<void> {
  let file: FileHandle
  try {
    file = await open(path, 'wx', 0o600)
  } catch (cause) {
    throw new ZosError(`Make the writable layer "${path}": ${(cause as Error).message}`, {
      code: 'upper-failed',
      kind: 'node',
      cause,
    })
  }
  try {
    await file.truncate(template.size)
    for (const { offset, data } of template.extents) await file.write(data, 0, data.length, offset)
  } catch (error) {
    await rm(path, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

/**
 * Makes a writable layer sound that a killed VM left as it was: it has no journal. One that was unmounted is only looked
 * at. Throws `upper-damaged` for one that nothing can be done for.
 */
export async function mendUpper(path: string): Promise<void> {
  const { code, stdout, stderr } = await tryRun('e2fsck', ['-p', path], { timeout: 600_000 })
  // e2fsck(8): 1 and 2 are "errors were corrected"
  if (code <= 2) return
  const said = `${stdout}${stderr}`.trim().split('\n').at(-1) ?? ''
  throw new ZosError(`Mend the writable layer "${path}": ${said}; remove the workload and run it anew`, {
    code: 'upper-damaged',
    kind: 'node',
  })
}
