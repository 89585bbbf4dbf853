import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type ChunkId, dirBackend, openStore, type Store, type StoreOptions, startWorkers } from '#cas'

export const root = mkdtempSync(join(tmpdir(), 'zos-store-'))
export const workers = startWorkers(1)
after(async () => {
  await workers.close()
  rmSync(root, { recursive: true })
})

let count = 0
/** A store of its own, beside a hub if wanted, and where each keeps a chunk. */
export function make(options: Partial<StoreOptions> & { withHub?: boolean } = {}) {
  const home = join(root, String(count++))
  const hubDir = join(home, 'hub')
  const hub = dirBackend(hubDir, { temporary: join(home, 'hub-tmp') })
  const { withHub, ...rest } = options
  const store = openStore({ dir: join(home, 'cas'), workers, ...(withHub ? { hub } : {}), ...rest })
  const fileIn = (dir: string, id: ChunkId) => {
    const hex = id.toString('hex')
    return join(dir, hex.slice(0, 2), hex.slice(2))
  }
  return {
    home,
    store,
    hub,
    hubDir,
    local: (id: ChunkId) => fileIn(store.dir, id),
    remote: (id: ChunkId) => fileIn(hubDir, id),
  }
}

export function flip(path: string, at = Math.floor(statSync(path).size / 2)): void {
  const bytes = readFileSync(path)
  bytes[at]! ^= 1
  writeFileSync(path, bytes)
}

/** SIZE bytes that compress. */
export const text = (size: number) => Buffer.alloc(size, 'the quick brown fox jumps over the lazy dog. ')

/** Puts and gets: what a cache beside a hub holds after a read. */
export const putAndRead = async (store: Store, plain: Buffer) => {
  const put = await store.put(plain)
  await store.get(put.id)
  return put
}
