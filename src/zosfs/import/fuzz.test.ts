import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import test from 'node:test'
import { chunkIdOf, leafHashes, type Store } from '#cas'
import { ZosError } from '#codec'
import { FUZZ_RUNS, mutate } from '../disk/mutate.ts'
import { type TarEntry, tar } from './fixture_image.ts'
import { openSink } from './sink.ts'
import { openSpool } from './spool.ts'
import { readTar } from './tar.ts'
import { emptyTree } from './tree.ts'

const text = (s: string) => Buffer.from(s)
/** Every kind of entry the decoder knows. */
const VALID: TarEntry[][] = [
  [
    { name: 'd/' },
    { name: 'd/file', data: text('content') },
    { name: 'd/link', type: '1', link: 'd/file' },
    { name: 'd/symlink', type: '2', link: '../x' },
    { name: 'null', type: '3', device: [1, 3] },
    { name: 'pipe', type: '6' },
    { name: 'd/.wh.gone' },
    { name: 'd/.wh..wh..opq' },
  ],
  [
    { name: 'long', data: text('x'), pax: { path: 'n'.repeat(150), mtime: '-1.25', uid: '70000' } },
    {
      name: 'attributes',
      data: text('x'),
      pax: { 'SCHILY.xattr.user.a': 'value', 'SCHILY.xattr.security.b': '\0\x01' },
    },
  ],
  [
    { name: 'sparse', data: text('abcdef'), pax: { 'GNU.sparse.map': '0,3,9,3', 'GNU.sparse.size': '20' } },
    {
      name: 'sparse1',
      data: Buffer.concat([text('1\n4096\n3\n'.padEnd(512, '\0')), text('xyz')]),
      pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': '8192' },
    },
  ],
]

/** Hashes and keeps nothing: only the decoder is looked at. */
const nowhere = {
  putAll: async (contents: { bytes: Buffer }[]) =>
    contents.map(({ bytes }) => {
      const leaves = leafHashes(bytes)
      return { chunks: [{ id: chunkIdOf(leaves), storedBytes: 0 }], leaves }
    }),
} as unknown as Store

/** Right checksums in all headers: wrong ones hide every other mistake. */
function mendChecksums(archive: Buffer): Buffer {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    if (archive.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    archive.write('        ', at + 148)
    const sum = archive.subarray(at, at + 512).reduce((a, b) => a + b, 0)
    archive.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148)
  }
  return archive
}

async function decode(archive: Buffer, cut: number): Promise<unknown> {
  using spool = openSpool(tmpdir())
  const sink = openSink(nowhere, spool)
  const tree = emptyTree()
  const pieces = async function* () {
    yield archive.subarray(0, cut)
    yield archive.subarray(cut)
  }
  try {
    await readTar(tree, sink, 0, pieces(), 'layer 1 of 1')
    await sink.settled()
    return tree
  } catch (error) {
    return error
  }
}

test('every kind of entry is read; a changed archive is read or refused by name', async () => {
  const archives = VALID.map((entries) => tar(entries))
  for (const archive of archives) assert.ok(!((await decode(archive, 700)) instanceof Error))
  let refused = 0
  for (let seed = 1; seed <= FUZZ_RUNS; seed++) {
    const valid = archives[seed % archives.length]!
    const bad = mutate(valid, seed)
    const result = await decode(seed % 8 === 0 ? bad : mendChecksums(bad), (seed * 7919) % (bad.length + 1))
    if (!(result instanceof Error)) continue
    assert.ok(result instanceof ZosError, `seed ${seed}: ${result.stack}`)
    assert.match(result.code, /^(bad-archive|bad-entry|tree-too-large)$/, `seed ${seed}: ${result.message}`)
    refused++
  }
  assert.ok(refused > FUZZ_RUNS / 20 && refused < FUZZ_RUNS, `${refused} of ${FUZZ_RUNS} refused`)
})
