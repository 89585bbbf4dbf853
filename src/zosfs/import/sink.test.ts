import assert from 'node:assert/strict'
import test from 'node:test'
import type { Store } from '#cas'
import { openSink } from './sink.ts'
import type { Spool } from './spool.ts'

test('of a large file what was taken in so far counts, not its whole size from the start', async () => {
  const seen: number[] = []
  const store = { putAll: async (all: unknown[]) => all.map(() => ({ chunks: [], leaves: Buffer.alloc(0) })) }
  const sink = openSink(store as unknown as Store, {} as Spool, { onPut: () => seen.push(sink.tally.bytes) })
  const size = 41 << 20
  await sink.putFile(Buffer.from('/large'), size)
  await sink.settled()
  assert.ok(
    seen.some((bytes) => bytes > 0 && bytes < size / 2),
    seen.join(),
  )
  assert.equal(sink.tally.bytes, size)
})
