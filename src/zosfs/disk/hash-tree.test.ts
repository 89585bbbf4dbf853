import assert from 'node:assert/strict'
import test from 'node:test'
import { CHUNK, type Entry, LARGE_CHUNK } from '../types.ts'
import { planData } from './data-plan.ts'
import { fixture, noise } from './fixture.ts'
import { treeChunks } from './hash-tree.ts'

const lib = noise(24 * 1024 * 1024, 7)
const files = Array.from({ length: 48 }, (_, n) => ({
  path: `lib/${String(n).padStart(2, '0')}`,
  data: lib.subarray(n << 19, (n + 1) << 19),
}))
const base = fixture(files)

test('two images that share files share the hashes of those, whatever else they have', () => {
  const more = Array.from({ length: 300 }, (_, n) => ({ path: `etc/more-${n}`, data: Buffer.from(`${n}`) }))
  const other = fixture([...more, ...files.filter(({ path }) => path !== 'lib/20')])
  assert.notEqual(base.synthesised.metadataBlocks, other.synthesised.metadataBlocks)
  const ids = new Set(base.manifest.disk.tree.map((id) => id.toString('hex')))
  const own = other.manifest.disk.tree.filter((id) => !ids.has(id.toString('hex')))
  // the top; the segment of etc, in which lib begins; the one that lacks a file, and the next if it now ends elsewhere
  assert.ok(own.length <= 4, `${own.length} of ${other.manifest.disk.tree.length} are its own`)
  assert.ok(other.manifest.disk.tree.length >= 8)
})

test('segments begin whole blocks of hashes, and the chunks of the tree are all of it in order', () => {
  const { synthesised, manifest, image } = base
  const { segments, dataBlocks } = synthesised
  assert.ok(segments.length > 3)
  assert.deepEqual(
    [...segments, dataBlocks].filter((block) => block % 128 !== 0),
    [],
  )
  const tree = image().subarray(dataBlocks * 4096)
  const kept = manifest.disk.tree.map((id) => base.chunks.get(id.toString('hex'))!)
  assert.ok(Buffer.concat(kept).equals(tree))
  assert.ok(kept.every((chunk) => chunk.length <= CHUNK))
})

test('a segment ends behind a chunk whose id says so, if it is long enough, and where another would be too much', () => {
  const file = (last: number): Entry => {
    const chunks = Array.from({ length: 70 }, () => Buffer.alloc(32, last))
    const content = { kind: 'chunks', chunkSize: LARGE_CHUNK, chunks } as const
    const base = { parent: 0, name: Buffer.of(0x61), mode: 0o100644, uid: 0, gid: 0, xattrs: [] }
    const mtime = { seconds: 0n, nanoseconds: 0 }
    return { ...base, mtime, type: 'file', size: 70 * LARGE_CHUNK, fingerprint: undefined, content }
  }
  const never = planData({ entries: [file(1)], packs: [] }, 5)
  assert.deepEqual([never.segments, never.end], [[128, 128 + 4096, 128 + 8192], 128 + 70 * 128])
  const always = planData({ entries: [file(0x10)], packs: [] }, 5)
  assert.deepEqual([always.segments.slice(0, 3), always.segments.length], [[128, 384, 640], 35])
  const blocks = treeChunks({ dataBlocks: never.end, segments: never.segments }).map((chunk) => chunk.blocks)
  assert.deepEqual(blocks, [2, 32, 32, 6]) // the root's block, one of the metadata's hashes, the segments
})
