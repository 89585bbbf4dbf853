import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import {
  type ChunkId,
  chunkIdOf,
  collect,
  dirBackend,
  leafHashes,
  open,
  openStore,
  type Store,
  type StoreOptions,
  scrub,
  seal,
  startWorkers,
  usage,
  wholeBlocks,
} from '#cas'
import { sha256, type ZosError } from '#codec'
import { until } from '#sys'

const root = mkdtempSync(join(tmpdir(), 'zos-store-'))
const workers = startWorkers(1)
after(async () => {
  await workers.close()
  rmSync(root, { recursive: true })
})

let count = 0
function make(options: Partial<StoreOptions> & { withHub?: boolean } = {}) {
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

function flip(path: string, at = Math.floor(statSync(path).size / 2)): void {
  const bytes = readFileSync(path)
  bytes[at]! ^= 1
  writeFileSync(path, bytes)
}

const text = (size: number) => Buffer.alloc(size, 'the quick brown fox jumps over the lazy dog. ')

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

/** Puts and gets: what a cache beside a hub holds after a read. */
const putAndRead = async (store: Store, plain: Buffer) => {
  const put = await store.put(plain)
  await store.get(put.id)
  return put
}

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

test('a hundred readers of one missing chunk fetch it once', async () => {
  const { store } = make({ withHub: true })
  const { id } = await store.put(text(200_000))
  await Promise.all(Array.from({ length: 100 }, () => store.get(id)))
  assert.equal(store.counters.fetched, 1)
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
  await until('the cache to shrink', 5000, async () => (await usage(store.local)).bytes <= 100_000)
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
