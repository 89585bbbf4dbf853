import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type ChunkBackend, seal } from '#cas'
import { adopt, checkSignature, openLibrary, publish, reachable, resolveTag, verify } from '#zosfs'

test('an image is brought under a name of this home’s, each object checked; broken off it goes on; what is wrong has no name', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-adopt-'))
  try {
    mkdirSync(join(dir, 'tree'))
    for (let n = 0; n < 20; n++) writeFileSync(join(dir, 'tree', `f${n}`), Buffer.alloc(40_000, `file ${n} `))
    await using there = openLibrary({ home: join(dir, 'there') })
    const { digest, root, size } = await publish(there, `dir:${join(dir, 'tree')}`, 'theirs')
    const ids = await Array.fromAsync(reachable(there.store, digest))
    const asked: string[] = []
    let bad: { id: string; stored: Buffer | undefined } | undefined
    const source: ChunkBackend = {
      ...there.store.local,
      get: async (id) => {
        asked.push(id)
        return bad?.id === id ? bad.stored : there.store.local.get(id)
      },
    }
    await using here = openLibrary({ home: join(dir, 'here'), hub: `dir:${join(dir, 'hub')}` })
    for (const [stored, code] of [
      [undefined, 'chunk-missing'],
      [seal('chunk', Buffer.alloc(8192, 1)), 'chunk-corrupt'],
    ] as const) {
      bad = { id: ids[10]!, stored }
      await assert.rejects(adopt(here, source, digest, 'mine', {}), { code, message: new RegExp(ids[10]!) })
      assert.equal(await resolveTag(here, 'mine'), undefined)
    }
    bad = undefined
    asked.length = 0
    const done = await adopt(here, source, digest, 'mine')
    assert.deepEqual([done.digest, done.root, done.size, done.files], [digest, root, size, 20])
    assert.ok(
      done.newChunks < ids.length && done.newChunks > 0,
      'what was there before the break was not fetched again',
    )
    assert.equal(asked.length, new Set([digest, ...asked]).size)
    const tag = (await resolveTag(here, 'mine'))!
    await checkSignature(here, tag.digest, tag.key)
    assert.deepEqual((await verify(here.store, digest)).faults, [])
    asked.length = 0
    assert.equal((await adopt(here, source, digest, 'again')).newChunks, 0)
    assert.deepEqual(asked, [digest])
    await assert.rejects(adopt(here, source, digest, '-x'), { code: 'bad-tag-name' })
  } finally {
    rmSync(dir, { recursive: true })
  }
})
