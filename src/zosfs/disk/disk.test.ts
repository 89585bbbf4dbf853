import assert from 'node:assert/strict'
import test from 'node:test'
import { ZosError } from '#codec'
import { until } from '#sys'
import type { ChunkId } from '../types.ts'
import { chunkCache, keyOf } from './chunk-cache.ts'
import { type Disk, diskOf, newReader, openDisk, type Piece } from './disk.ts'
import { fixture, noise, type Spec } from './fixture.ts'

const specs: Spec[] = [{ path: 'sparse', data: Buffer.concat([Buffer.alloc(300_000), noise(5000, 1)]) }]
for (let n = 0; n < 30; n++) specs.push({ path: `d${n % 3}/f${n}`, data: noise(1 + n * 20_011, n) })
const tree = fixture(specs)
const image = tree.image()

const join = (pieces: Piece[]) => Buffer.concat(pieces.map((p) => (typeof p === 'number' ? Buffer.alloc(p) : p)))
const source = {
  asked: 0,
  async get(id: ChunkId) {
    this.asked++
    return tree.chunks.get(id.toString('hex'))!
  },
}
const bytesAt = async (disk: Disk, offset: number, length: number) =>
  join(await disk.read(offset, length, { reader: newReader() }))

test('any range of the disk is that range of the image, zeros after its end', async () => {
  const disk = openDisk(tree.manifest, chunkCache(source, 1 << 20))
  assert.equal(disk.blocks * 4096, image.length)
  const beyond = Buffer.concat([image, Buffer.alloc(1 << 20)])
  assert.ok((await bytesAt(disk, 0, beyond.length)).equals(beyond))
  const random = noise(1600, 7)
  for (let n = 0; n < 200; n++) {
    const offset = random.readUInt32LE(n * 8) % beyond.length
    const length = 1 + (random.readUInt32LE(n * 8 + 4) % Math.min(500_000, beyond.length - offset))
    assert.ok(
      (await bytesAt(disk, offset, length)).equals(beyond.subarray(offset, offset + length)),
      `${offset}+${length}`,
    )
  }
})

test('extents with gaps between them: a raw disk', async () => {
  const [a, b] = [noise(4096, 1), noise(4096, 2)]
  const two = { get: async (id: ChunkId) => (id[0] === 1 ? a : b) }
  const disk = diskOf(
    Buffer.alloc(0),
    20,
    [
      { block: 3, blocks: 1, id: Buffer.alloc(32, 1) },
      { block: 9, blocks: 1, id: Buffer.alloc(32, 2) },
    ],
    chunkCache(two, 1 << 20),
  )
  const want = Buffer.alloc(20 * 4096)
  a.copy(want, 3 * 4096)
  b.copy(want, 9 * 4096)
  assert.ok((await bytesAt(disk, 0, want.length)).equals(want))
  assert.ok((await bytesAt(disk, 5 * 4096, 4096)).equals(Buffer.alloc(4096)))
  assert.deepEqual(disk.runs(0, 20 * 4096), [
    { length: 3 * 4096, zero: true },
    { length: 4096, zero: false },
    { length: 5 * 4096, zero: true },
    { length: 4096, zero: false },
    { length: 10 * 4096, zero: true },
  ])
})

test('a reader that goes straight on is read ahead for, one that jumps is not', async () => {
  const cache = chunkCache(source, 64 << 20)
  const disk = openDisk(tree.manifest, cache)
  const reader = newReader()
  const first = disk.extents[0]!.block * 4096
  await disk.read(first, 4096, { reader })
  assert.equal(cache.stat().loads, 1)
  for (let n = 1; n < 4; n++) await disk.read(disk.extents[n]!.block * 4096, 4096, { reader })
  await until('what comes next', 20_000, () => cache.stat().loads >= 11)
  const before = cache.stat().loads
  for (const n of [30, 20, 40, 25]) await disk.read(disk.extents[n]!.block * 4096, 4096, { reader })
  assert.equal(cache.stat().loads, before + 4)
})

test('a manifest whose disk this version does not make is refused', () => {
  const disk = { ...tree.manifest.disk, metadataDigest: Buffer.alloc(32, 1) }
  assert.throws(() => openDisk({ ...tree.manifest, disk }, chunkCache(source, 1)), { code: 'disk-mismatch' })
  const earlier = { ...tree.manifest, synthesiser: 1 as const }
  assert.throws(() => openDisk(earlier, chunkCache(source, 1)), /an earlier version .*; publish it again/)
})

test('the cache holds no more than its limit, drops the longest unused, and keeps failures out', async () => {
  let fail = true
  const ids = Array.from({ length: 5 }, (_, n) => Buffer.alloc(32, n))
  const cache = chunkCache(
    {
      async get(id) {
        if (id[0] === 4 && fail) throw new ZosError('Load: damaged', { code: 'chunk-corrupt' })
        return Buffer.alloc(1000, id[0])
      },
    },
    3000,
  )
  const load = (n: number) => cache.load(ids[n]!, keyOf(ids[n]!))
  for (const n of [0, 1, 2]) await load(n)
  cache.peek(keyOf(ids[0]!))
  await load(3)
  assert.equal(cache.peek(keyOf(ids[1]!)), undefined)
  assert.ok(cache.peek(keyOf(ids[0]!)))
  assert.deepEqual([cache.stat().bytes, cache.stat().chunks], [3000, 3])
  await assert.rejects(load(4), { code: 'chunk-corrupt' })
  fail = false
  assert.equal((await load(4))[0], 4)
})

test('waiting for a source that is away ends with the last asker', async () => {
  let asked = 0
  const cache = chunkCache(
    {
      async get() {
        asked++
        throw new ZosError('Fetch: away', { code: 'source-away' })
      },
    },
    3000,
  )
  const one = new AbortController()
  const two = new AbortController()
  const id = Buffer.alloc(32)
  const reads = [one, two].map(({ signal }) => cache.load(id, keyOf(id), { signal }))
  await until('a second try', 20_000, () => asked >= 2)
  one.abort()
  await assert.rejects(reads[0]!)
  assert.equal(cache.stat().loading, 1)
  two.abort()
  await assert.rejects(reads[1]!)
  await until('the end', 20_000, () => cache.stat().loading === 0)
})
