import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '#codec'
import { dataRanges, syncDirectory, writeAtomic } from '#sys'

/** Of each file in a template's folder; `meta.json` holds it. */
export type Digests = Record<string, string>

const META = 'meta.json'

/** Makes DIR/NAME whole or not at all: FILL writes its files into a folder beside it, which then gets the name. */
export async function makeFolder(dir: string, name: string, fill: (work: string) => Promise<void>): Promise<void> {
  const work = join(dir, `${name}.${process.pid}.tmp`)
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { mode: 0o700 })
  try {
    await fill(work)
    const digests: Digests = {}
    for (const file of await readdir(work)) {
      digests[file] = await hashSparse(join(work, file))
      // root opens it for writing all the same, which QEMU < 9 does; nobody else may be refused that
      await chmod(join(work, file), process.getuid?.() === 0 ? 0o400 : 0o600)
    }
    await writeAtomic(join(work, META), `${JSON.stringify(digests)}\n`)
    const made = join(dir, name)
    await rename(work, made).catch(async (error) => {
      // another process made it meanwhile: its folder is as good, unless it is a torn one
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'EEXIST') throw error
      if (await readFolder(dir, name)) return
      await rm(made, { recursive: true, force: true })
      await rename(work, made)
    })
    await syncDirectory(dir)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Folders found as they were made, by what a write to any of their files would change. */
const verified = new Map<string, string>()

/**
 * What meta.json says of DIR/NAME; undefined when it is not there. Files are compared with it when this process first
 * meets them, and again when one was touched: what a disk has changed since is thrown away.
 */
export async function readFolder(dir: string, name: string): Promise<Digests | undefined> {
  const folder = join(dir, name)
  try {
    const digests = JSON.parse(await readFile(join(folder, META), 'utf8')) as Digests
    const files = Object.keys(digests)
    const look = async () => {
      const stats = await Promise.all(files.map((file) => stat(join(folder, file), { bigint: true })))
      return stats.map((s) => `${s.dev} ${s.ino} ${s.size} ${s.mtimeNs} ${s.ctimeNs}`).join('\n')
    }
    const facts = await look()
    if (verified.get(folder) === facts) return digests
    for (const file of files) {
      if ((await hashSparse(join(folder, file))) === digests[file]) continue
      await rm(folder, { recursive: true, force: true })
      return undefined
    }
    verified.set(folder, facts)
    return digests
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

const BLOCK = 4096
const PIECE = 1 << 20
const ZERO = Buffer.alloc(BLOCK)

/** SHA-256 over offset (u64) and bytes of each block of PATH that is not all zero: the same for a hole as for zeroes. */
export async function hashSparse(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path, 'r')
  const piece = Buffer.alloc(PIECE)
  const offset = Buffer.alloc(8)
  try {
    for (const [from, to] of dataRanges(file.fd)) {
      // a range may begin or end within a block
      for (let at = from - (from % BLOCK); at < to; at += PIECE) {
        const { bytesRead } = await file.read(piece, 0, PIECE, at)
        for (let n = 0; n < bytesRead && at + n < to; n += BLOCK) {
          const block = piece.subarray(n, Math.min(n + BLOCK, bytesRead))
          if (block.equals(ZERO.subarray(0, block.length))) continue
          offset.writeBigUInt64LE(BigInt(at + n))
          hash.update(offset).update(block)
        }
      }
    }
  } finally {
    await file.close()
  }
  return hash.digest('hex')
}
