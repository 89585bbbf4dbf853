import assert from 'node:assert/strict'
import test from 'node:test'
import type { ChunkBackend } from './backend.ts'
import { limiter } from './limit.ts'

test('a hub that lacks all of a full cache is not asked again at each read', async () => {
  const ids = Array.from({ length: 20 }, (_, n) => String(n).padStart(64, '0'))
  let asked = 0
  const local = {
    list: async function* () {
      for (const id of ids) yield { id, bytes: 10_000, mtime: 1 }
    },
    touch: async () => true,
  } as unknown as ChunkBackend
  const hub = { has: async () => ++asked < 0 } as unknown as ChunkBackend
  const limit = limiter({ local, hub, limit: 100_000, isPinned: () => false, onEvict: () => {} })
  for (let n = 0; n < 30; n++) {
    limit.used(ids[n % 20]!, 10_000)
    await limit.settled()
  }
  assert.equal(asked, 20)
  // what is new may be what can go
  for (let n = 0; n < 30; n++) limit.used(`f${n}`.padStart(64, '0'), 10_000)
  await limit.settled()
  assert.ok(asked > 20)
})
