import { mkdirSync } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { writeAtomic } from '#sys'

/** Extents in the order in which starts first touched them: a hint, so anything odd in a file means no trace. */
export type Traces = {
  load(digest: string, extents: number): Promise<number[]>
  save(digest: string, order: readonly number[]): Promise<void>
}

/** Extents per trace: 512 MiB of 128 KiB chunks, more than any start reads. */
const LONGEST = 4096
/** Traces kept; the oldest go. */
const KEPT = 500
const MAGIC = Buffer.from('zfl-trace/1\n')

/** Traces below DIR, one file per manifest digest: a line of magic, then 32-bit little-endian extent numbers. */
export function openTraces(dir: string): Traces {
  const path = (digest: string) => join(dir, digest)
  return {
    async load(digest, extents) {
      const bytes = await readFile(path(digest)).catch(() => undefined)
      const body = bytes?.subarray(MAGIC.length)
      if (!bytes?.subarray(0, MAGIC.length).equals(MAGIC) || !body || body.length % 4 || body.length > 4 * LONGEST)
        return []
      const order = Array.from({ length: body.length / 4 }, (_, n) => body.readUInt32LE(4 * n))
      return order.every((n) => n < extents) ? order : []
    },
    async save(digest, order) {
      const kept = order.slice(0, LONGEST)
      const body = Buffer.alloc(4 * kept.length)
      kept.forEach((n, k) => {
        body.writeUInt32LE(n, 4 * k)
      })
      mkdirSync(dir, { recursive: true, mode: 0o700 })
      await writeAtomic(path(digest), Buffer.concat([MAGIC, body]), { sync: false, mode: 0o600 })
      await prune(dir)
    },
  }
}

async function prune(dir: string): Promise<void> {
  const names = await readdir(dir)
  if (names.length <= KEPT) return
  const aged = await Promise.all(
    names.map(async (name) => ({ name, mtime: (await stat(join(dir, name)).catch(() => undefined))?.mtimeMs ?? 0 })),
  )
  aged.sort((a, b) => a.mtime - b.mtime)
  for (const { name } of aged.slice(0, names.length - KEPT)) await rm(join(dir, name), { force: true })
}
