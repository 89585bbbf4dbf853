import { stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Remembers chunk files as they were when their bytes were last verified. */
export type Verified = {
  /** True while the file of chunk ID (hex) is the very one, unchanged, that was last verified. */
  isSame(id: string): Promise<boolean>
  /** Runs VERIFY on the chunk and remembers the file as it was before. */
  note(id: string, verify: () => Promise<void>): Promise<void>
}

/** A file changed this shortly before it was looked at may change again within one tick of the clock. Milliseconds. */
const RACY = 100
const REMEMBERED = 50_000

export function verifiedFiles(dir: string): Verified {
  const known = new Map<string, string>()
  /** What any write, replacement or utimes changes; undefined when absent or too young to tell. */
  const look = async (id: string): Promise<string | undefined> => {
    const s = await stat(join(dir, id.slice(0, 2), id.slice(2)), { bigint: true }).catch(() => undefined)
    if (!s || Date.now() - Number(s.ctimeMs) < RACY) return undefined
    return `${s.dev} ${s.ino} ${s.size} ${s.mtimeNs} ${s.ctimeNs}`
  }
  return {
    async isSame(id) {
      const before = known.get(id)
      return before !== undefined && before === (await look(id))
    },
    async note(id, verify) {
      const before = await look(id)
      await verify()
      if (known.size >= REMEMBERED) known.clear()
      if (before) known.set(id, before)
    },
  }
}
