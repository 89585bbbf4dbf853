// What is damaged is noticed, and healed from wherever it is whole.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import test from 'node:test'
import { chunkIdOf, leafHashes, scrub, wholeBlocks } from '#cas'
import { sha256, type ZosError } from '#codec'
import { flip, make, putAndRead, text } from './store.fixture.ts'

test('a bit flipped anywhere in a cached object is noticed and healed from the hub byte for byte', async () => {
  const { store, local } = make({ withHub: true })
  const puts = [
    await putAndRead(store, text(70_000)),
    await putAndRead(store, randomBytes(8192)),
    await store.putBlob(text(50_000)),
  ]
  await store.getBlob(puts[2]!.id)
  for (const [n, { id }] of puts.entries()) {
    const good = readFileSync(local(id))
    for (const at of [0, 1, good.length >> 1, good.length - 1]) {
      flip(local(id), at)
      const plain = n === 2 ? await store.getBlob(id) : await store.get(id)
      assert.deepEqual(n === 2 ? sha256(plain) : chunkIdOf(leafHashes(plain)), id)
      assert.deepEqual(readFileSync(local(id)), good)
    }
  }
  writeFileSync(local(puts[0]!.id), '')
  await store.get(puts[0]!.id)
  assert.equal(store.counters.healed, 13)
})

test('damage with no good copy is refused with id and what was found', async () => {
  const alone = make()
  const { id } = await alone.store.put(text(70_000))
  flip(alone.local(id))
  await assert.rejects(alone.store.get(id), (error: ZosError) => {
    assert.equal(error.code, 'chunk-corrupt')
    assert.equal(error.details.id, id.toString('hex'))
    assert.equal(error.details.where, 'local')
    assert.ok(error.details.found)
    return true
  })
  const both = make({ withHub: true })
  const other = await putAndRead(both.store, text(70_000))
  flip(both.remote(other.id))
  assert.deepEqual(await both.store.get(other.id), wholeBlocks(text(70_000)), 'the good local copy serves')
  rmSync(both.local(other.id))
  await assert.rejects(both.store.get(other.id), (error: ZosError) => {
    assert.deepEqual([error.code, error.details.where], ['chunk-corrupt', 'hub'])
    return true
  })
  await assert.rejects(both.store.get(randomBytes(32)), { code: 'chunk-missing' })
})

test('a hub that is gone is source-away, and reading goes on when it is back', async () => {
  const { store, hubDir } = make({ withHub: true })
  const { id } = await store.put(text(70_000))
  renameSync(hubDir, `${hubDir}.away`)
  await assert.rejects(store.get(id), { code: 'source-away' })
  renameSync(`${hubDir}.away`, hubDir)
  assert.deepEqual(await store.get(id), wholeBlocks(text(70_000)))
})

test('scrub heals each place from the other and removes what nobody has', async () => {
  const { store, local, remote } = make({ withHub: true })
  const [a, b, c] = [
    await putAndRead(store, text(30_000)),
    await putAndRead(store, text(40_000)),
    await putAndRead(store, text(50_000)),
  ]
  flip(local(a.id))
  flip(remote(b.id))
  flip(local(c.id))
  flip(remote(c.id))
  const report = await scrub(store)
  assert.equal(report.checked, 6)
  assert.deepEqual(
    report.healed.map(({ id, where }) => `${id} ${where}`).sort(),
    [`${a.id.toString('hex')} local`, `${b.id.toString('hex')} hub`].sort(),
  )
  assert.deepEqual(
    report.lost.map((l) => l.where),
    ['local', 'hub'],
  )
  assert.equal((await store.put(text(50_000))).storedBytes, 0, 'the hub copy is left alone')
  assert.equal((await scrub(store)).healed.length, 0)
})
