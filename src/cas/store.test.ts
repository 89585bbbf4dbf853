import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { constants, zstdCompressSync } from 'node:zlib'
import { type ChunkId, chunkIdOf, collect, leafHashes, open, openStore, seal, usage, wholeBlocks } from '#cas'
import { sha256 } from '#codec'
import { until } from '#sys'
import { make, putAndRead, root, text, workers } from './store.fixture.ts'

test('what is put is got back in whole blocks, under the id of its leaves, once', async () => {
  const { store, local } = make()
  for (const plain of [text(5), text(4096), text(20_000), randomBytes(131_072), randomBytes(524_288)]) {
    const put = await store.put(plain)
    assert.deepEqual(put.leaves, leafHashes(plain))
    assert.deepEqual(put.id, chunkIdOf(put.leaves))
    assert.ok(put.storedBytes > 0)
    assert.equal((await store.put(plain)).storedBytes, 0)
    assert.deepEqual(await store.get(put.id), wholeBlocks(plain))
    // compressed where it pays, raw where it does not
    assert.equal(readFileSync(local(put.id))[0], plain.subarray(0, 3).toString() === 'the' ? 2 : 1)
  }
  const blob = await store.putBlob(text(100_000))
  assert.deepEqual(blob.id, sha256(text(100_000)))
  assert.deepEqual(await store.getBlob(blob.id), text(100_000))
  await assert.rejects(store.get(blob.id), { code: 'chunk-corrupt' }, 'a blob is not a chunk')
  await store.flush()
})

test('what was read keeps its bytes while more is read, and has no memory of others behind it', async () => {
  const { store } = make()
  const plains = [text(100), randomBytes(4096), text(60_000), randomBytes(131_072), randomBytes(524_288)]
  const ids = await Promise.all(plains.map(async (plain) => (await store.put(plain)).id))
  const read = await Promise.all([...ids, ...ids].map((id) => store.get(id)))
  for (const [n, bytes] of read.entries()) {
    assert.deepEqual(bytes, wholeBlocks(plains[n % plains.length]!))
    assert.equal(bytes.buffer.byteLength, bytes.length)
  }
  const long = randomBytes(3 << 20) // a manifest may be longer than any chunk
  assert.deepEqual(await store.getBlob((await store.putBlob(long)).id), long)
})

test('what is published is kept once: at a hub that is a folder, else here; here too when the hub is far away', async () => {
  const objects = async ({ store, hub }: ReturnType<typeof make>) => [
    (await usage(store.local)).objects,
    await usage(hub).then(
      (at) => at.objects,
      () => 0, // there is no such folder
    ),
  ]
  const beside = make({ withHub: true })
  const alone = make()
  const { direct, ...far } = make().hub
  assert.ok(direct)
  const remote = make({ hub: far })
  for (const { store } of [beside, alone, remote]) {
    await store.put(text(9000))
    await store.putBlob(text(100))
  }
  assert.deepEqual(await objects(alone), [2, 0])
  assert.equal((await usage(remote.store.local)).objects, 2)
  assert.deepEqual(await objects({ ...beside, store: openStore({ dir: beside.store.dir, workers }) }), [0, 2])
})

test('a file is cut into chunks, its holes left out, by a thread or in steps; one too short is named', async () => {
  const beside = make({ withHub: true })
  const { direct, ...far } = beside.hub
  const path = join(root, 'file')
  const bytes = Buffer.concat([randomBytes(131_072), Buffer.alloc(131_072), text(70_000)])
  writeFileSync(path, bytes)
  const part = { path: Buffer.from(path), at: 0, length: bytes.length, chunkSize: 131_072 }
  const owned = () => Buffer.from(new Uint8Array(text(5000)).buffer)
  for (const { store } of [beside, make({ hub: far })]) {
    const [file, small] = await store.putAll([part, { bytes: owned() }])
    assert.deepEqual(file!.leaves, leafHashes(bytes))
    assert.deepEqual(small!.leaves, leafHashes(owned()))
    assert.equal(file!.chunks.length, 3)
    assert.equal(file!.chunks[1], undefined)
    assert.deepEqual(await store.get(file!.chunks[2]!.id), wholeBlocks(text(70_000)))
    await assert.rejects(store.putAll([{ ...part, length: bytes.length + 1 }]), {
      code: 'source-unreadable',
      message: new RegExp(`^Read "${path}": it ends after ${bytes.length} bytes`),
    })
    await assert.rejects(store.putAll([{ ...part, path: Buffer.from('/nowhere') }]), { code: 'source-unreadable' })
  }
})

test('a hundred readers of one missing chunk fetch it once', async () => {
  const { store } = make({ withHub: true })
  const { id } = await store.put(text(200_000))
  await Promise.all(Array.from({ length: 100 }, () => store.get(id)))
  assert.equal(store.counters.fetched, 1)
})

test('collect removes the unreachable, and spares the young, the pinned and the just claimed', async () => {
  const { store, local } = make()
  const names = ['live', 'dead', 'young', 'pinned', 'claimed']
  const ids: Record<string, ChunkId> = {}
  for (const [n, name] of names.entries()) {
    ids[name] = (await store.put(text(10_000 + n))).id
    if (name !== 'young') utimesSync(local(ids[name]), 1e9, 1e9)
  }
  const unpin = store.pin([ids.pinned!])
  assert.equal((await store.put(text(10_004))).storedBytes, 0)
  await assert.rejects(
    collect(
      store,
      (async function* () {
        yield ids.live!.toString('hex')
        throw new Error('marking failed')
      })(),
      { grace: 60_000 },
    ),
    /marking failed/,
  )
  assert.equal((await usage(store.local)).objects, 5, 'nothing goes unless everything was marked')
  const result = await collect(store, [ids.live!.toString('hex')], { grace: 60_000 })
  assert.deepEqual([result.kept, result.removed], [4, 1])
  await assert.rejects(store.get(ids.dead!), { code: 'chunk-missing' })
  unpin()
  utimesSync(local(ids.pinned!), 1e9, 1e9)
  assert.equal((await collect(store, [ids.live!.toString('hex')], { grace: 60_000 })).removed, 1)
})

test('over its limit the cache drops the longest unused, never pins or what the hub lacks', async () => {
  const made = make({ withHub: true, limit: 100_000 })
  const { store, hub, local } = made
  const first = await putAndRead(store, randomBytes(30_000))
  const unpin = store.pin([first.id])
  const only = await putAndRead(store, randomBytes(30_000))
  await hub.delete(only.id.toString('hex'))
  for (let n = 0; n < 6; n++) {
    await putAndRead(store, randomBytes(30_000))
    await new Promise((done) => setTimeout(done, 5))
  }
  await until('the cache to shrink', 20_000, async () => (await usage(store.local)).bytes <= 100_000)
  assert.ok(statSync(local(first.id)).size > 0)
  assert.ok(statSync(local(only.id)).size > 0)
  assert.ok(store.counters.evicted >= 4)
  unpin()
})

test('half-written files are outside cas, and gone afterwards', async () => {
  const { store, home } = make()
  await store.put(text(9000))
  assert.deepEqual(readdirSync(home).sort(), ['cas', 'tmp'])
  assert.deepEqual(readdirSync(join(home, 'tmp')), [])
})

test('published, a program takes fewer bytes than zstd 3 makes of it; the same ones each time', () => {
  const CHUNK = 128 << 10
  const zstd = (plain: Buffer, level: number) =>
    zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: level } })
  const program = Buffer.alloc(CHUNK)
  const file = openSync(process.execPath, 'r')
  readSync(file, program, 0, CHUNK, 32 << 20) // machine code
  closeSync(file)
  assert.ok(seal('chunk', program).length < zstd(program, 3).length)
  assert.deepEqual(seal('chunk', program), seal('chunk', program))
})

test('open refuses every truncation, and what it lets through is right', () => {
  for (const kind of ['chunk', 'blob'] as const) {
    for (const plain of [text(8192), randomBytes(4096)]) {
      const stored = seal(kind, plain)
      const id = (kind === 'chunk' ? chunkIdOf(leafHashes(plain)) : sha256(plain)).toString('hex')
      assert.ok(open(id, stored).ok)
      for (let n = 0; n < stored.length; n++) assert.ok(!open(id, stored.subarray(0, n)).ok, `${n} bytes`)
      for (let n = 0; n < 500; n++) {
        const bad = Buffer.from(stored)
        bad[Math.floor(Math.random() * bad.length)]! ^= 1 + Math.floor(Math.random() * 255)
        const opened = open(id, bad)
        // a zstd header has bits that do not change the content
        if (opened.ok) assert.deepEqual(opened.plain, plain)
      }
    }
  }
})
