import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { Store } from '#cas'
import { sleep } from '#sys'
import { publish } from '#zosfs'
import { noise } from '../disk/fixture.ts'
import type { Progress } from './progress.ts'
import { library, root } from './publish.fixture.ts'

test('a folder that takes seconds is told of with its total', async () => {
  const source = join(root, 'slow')
  mkdirSync(source)
  // more than is under way at once
  const [FILES, SIZE] = [12, 1_100_000]
  for (let n = 0; n < FILES; n++) writeFileSync(join(source, `f${n}`), noise(SIZE, n))
  const lib = library()
  const store: Store = {
    ...lib.store,
    async putAll(contents) {
      await sleep(2500)
      return lib.store.putAll(contents)
    },
  }
  const seen: Progress[] = []
  await publish({ ...lib, store }, `dir:${source}`, 'slow', { onProgress: (p) => seen.push(p) })
  const told = seen.filter((p) => p.phase === 'import' && p.totalBytes !== undefined)
  assert.ok(told.length > 0, JSON.stringify(seen))
  assert.ok(told.every((p) => p.totalBytes === FILES * SIZE && p.bytes > 0 && p.bytes <= FILES * SIZE))
})
