import assert from 'node:assert/strict'
import test from 'node:test'
import { seal } from '#cas'
import { sha256, ZosError } from '#codec'
import { attachFingerprints, decodeManifest, encodeManifest } from '#zosfs'
import { fixture, noise, type Spec } from '../disk/fixture.ts'
import { richTree } from '../disk/fixture-rich.ts'
import { FUZZ_RUNS, mutate } from '../disk/mutate.ts'
import type { Manifest } from '../types.ts'

function random(seed: number): () => number {
  let x = seed
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x / 2 ** 32
  }
}

const small: Spec[] = [
  { path: '', directory: true },
  { path: 'a/b/c', data: noise(300_000, 1) },
  { path: 'a/b/hole', data: Buffer.concat([noise(131_072, 2), Buffer.alloc(131_072), noise(9, 3)]) },
  { path: 'a/one', data: Buffer.from('one'), xattrs: { 'user.a': Buffer.from('1') } },
  { path: 'a/two', data: Buffer.from('two'), mode: 0o4755, uid: 1000, gid: 7, mtime: [-5n, 999_999_999] },
  { path: 'a/zero', data: Buffer.alloc(0) },
  { path: 'b-\xff\xfe', link: 'a/one' },
  { path: 'c', symlink: '../\xff' },
  { path: 'd', device: 'character', major: 1, minor: 3 },
  { path: 'e', special: 'fifo' },
]

function decoded(manifest: Manifest): Manifest {
  const { bytes, fingerprints } = encodeManifest(manifest)
  const back = decodeManifest(bytes)
  attachFingerprints(back.manifest, fingerprints, back.fingerprints)
  return back.manifest
}

for (const [name, specs] of [
  ['small', small],
  ['rich', richTree()],
  ['empty', [{ path: '', directory: true } as Spec]],
] as const) {
  test(`${name} tree: decode gives back what was encoded, and encodes to the same bytes`, () => {
    const { manifest } = fixture([...specs])
    // the fixture's hard links carry their target's size and content along
    manifest.entries = manifest.entries.map((e) => {
      if (e.type !== 'hardlink') return e
      const { type, parent, name, mode, uid, gid, mtime, xattrs, link } = e
      return { type, parent, name, mode, uid, gid, mtime, xattrs, link }
    })
    manifest.config = Buffer.from('{"config":{"Entrypoint":["/a"]}}')
    manifest.layers = [{ mediaType: 'application/x', digest: 'sha256:00', size: 2 ** 40, diffId: 'sha256:11' }]
    if (name !== 'empty') manifest.startClosure = [1, 2, 5]
    const back = decoded(manifest)
    assert.deepEqual(back, manifest)
    assert.deepEqual(encodeManifest(back), encodeManifest(manifest))
  })
}

test('every truncation is refused by name', () => {
  const { bytes } = encodeManifest(fixture(small).manifest)
  for (let n = 0; n < bytes.length; n++) {
    assert.throws(() => decodeManifest(bytes.subarray(0, n)), { code: 'bad-encoding' }, `${n} of ${bytes.length} bytes`)
  }
  assert.throws(() => decodeManifest(Buffer.concat([bytes, Buffer.alloc(1)])), /1 bytes too many/)
})

test('a changed byte is refused, or is another manifest in its one canonical form', () => {
  const { bytes, fingerprints } = encodeManifest(fixture(small).manifest)
  let refused = 0
  for (let seed = 1; seed <= FUZZ_RUNS; seed++) {
    const bad = mutate(bytes, seed)
    try {
      const { manifest } = decodeManifest(bad)
      for (const entry of manifest.entries) if (entry.type === 'file') entry.fingerprint = sha256()
      const again = encodeManifest(manifest).bytes
      // the digest of the fingerprints, set anew here, is the one thing that may differ
      const at = again.indexOf(
        sha256(Buffer.concat(manifest.entries.map((e) => (e.type === 'file' ? sha256() : Buffer.alloc(0))))),
      )
      bad.copy(again, at, at, at + 32)
      assert.deepEqual(again, bad)
    } catch (error) {
      if (!(error instanceof ZosError)) throw error
      assert.equal(error.code, 'bad-encoding')
      refused++
    }
  }
  assert.ok(refused > FUZZ_RUNS / 5 && refused < FUZZ_RUNS, `${refused} refused`)
  assert.equal(fingerprints.length % 32, 0)
})

test('names a file cannot have, and names out of order, are refused', () => {
  const { bytes } = encodeManifest(
    fixture([
      { path: 'aa', data: Buffer.from('1') },
      { path: 'bb', data: Buffer.from('2') },
    ]).manifest,
  )
  const at = bytes.indexOf('aa')
  for (const [name, reason] of [
    ['..', /no name a file can have/],
    ['a/', /no name a file can have/],
    ['a\0', /no name a file can have/],
    ['bb', /order of names/],
    ['cc', /order of names/],
  ] as const) {
    const bad = Buffer.from(bytes)
    bad.write(name, at, 'latin1')
    assert.throws(() => decodeManifest(bad), reason, JSON.stringify(name))
  }
})

test('fingerprints of another tree are refused', () => {
  const { bytes, fingerprints } = encodeManifest(fixture(small).manifest)
  const { manifest, fingerprints: digest } = decodeManifest(bytes)
  const bad = Buffer.from(fingerprints)
  bad[40]! ^= 1
  assert.throws(() => attachFingerprints(manifest, bad, digest), { code: 'bad-encoding' })
  assert.throws(() => attachFingerprints(manifest, fingerprints.subarray(32), digest), { code: 'bad-encoding' })
})

test('a tree of small files takes few bytes per file', () => {
  const next = random(3)
  const specs: Spec[] = []
  for (let d = 0; d < 600; d++) {
    for (let f = 0; f < 10; f++)
      specs.push({
        path: `usr/lib/node_modules/m${d}/file-${f}.js`,
        data: noise(4 + Math.floor(next() * 4000), d * 10 + f),
      })
  }
  const { manifest } = fixture(specs)
  const { bytes } = encodeManifest(manifest)
  const stored = seal('blob', bytes).length
  assert.ok(stored / specs.length < 16, `${stored} bytes for ${specs.length} files`)
  assert.equal(decodeManifest(bytes).manifest.entries.length, manifest.entries.length)
})
