import assert from 'node:assert/strict'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { sha256Hex } from '#codec'
import { run } from '#sys'
import { BLOCK, type Entry } from '../types.ts'
import { synthesise } from './erofs.ts'
import { type Fixture, fixture, type Spec } from './fixture.ts'
import { richTree } from './fixture-rich.ts'
import { type Seen, walk } from './fixture-walk.ts'
import { pathOf } from './path.ts'

const root = process.getuid?.() === 0
let dir: string
let specs: Spec[]
let rich: Fixture
let image: string

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'zos-erofs-'))
  specs = richTree()
  rich = fixture(specs)
  image = join(dir, 'image')
  const fd = openSync(image, 'w')
  const bytes = rich.image()
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
  closeSync(fd)
})
after(() => rmSync(dir, { recursive: true, force: true }))

test('fsck.erofs finds nothing to complain about', async () => {
  const { stderr } = await run('fsck.erofs', ['-d3', '--extract', image])
  assert.match(stderr, /No errors found/)
})

/** The same facts from the tree; `ino` is the entry that has the inode. */
function expected(entries: Entry[], specsByPath: Map<string, Spec>): Seen[] {
  const bytePath = (n: number): Buffer =>
    n === 0
      ? Buffer.alloc(0)
      : Buffer.concat([
          bytePath(entries[n]!.parent),
          entries[n]!.parent ? Buffer.from('/') : Buffer.alloc(0),
          entries[n]!.name,
        ])
  const links = new Map<number, number>()
  entries.forEach((e, n) => {
    const inode = e.type === 'hardlink' ? e.link : n
    links.set(inode, (links.get(inode) ?? 0) + 1)
    if (e.type === 'directory') links.set(n, (links.get(n) ?? 0) + 1)
    if (e.type === 'directory' && n > 0) links.set(e.parent, (links.get(e.parent) ?? 0) + 1)
  })
  return entries.map((entry, n) => {
    const ino = entry.type === 'hardlink' ? entry.link : n
    const e = entries[ino]!
    const spec = specsByPath.get(bytePath(ino).toString('latin1'))
    const data = spec && 'data' in spec ? spec.data : undefined
    return {
      path: bytePath(n).toString('hex'),
      mode: e.mode,
      uid: e.uid,
      gid: e.gid,
      mtime: String(e.mtime.seconds * 1_000_000_000n + BigInt(e.mtime.nanoseconds)),
      nlink: links.get(ino)!,
      size: data?.length ?? (e.type === 'symlink' ? e.target.length : 0),
      ino,
      rdev: e.type === 'character' || e.type === 'block' ? [e.major, e.minor] : [0, 0],
      xattrs: Object.fromEntries(e.xattrs.map((x) => [x.name.toString('hex'), x.value.toString('hex')])),
      content: data ? sha256Hex(data) : e.type === 'symlink' ? e.target.toString('hex') : '',
    }
  })
}

test('the kernel shows every name, mode, owner, time, attribute, link, device and byte as it was', {
  skip: root ? false : 'NOT RUN: mounting needs root',
}, async () => {
  const mount = join(dir, 'mount')
  mkdirSync(mount)
  await run('mount', ['-t', 'erofs', '-o', 'loop,ro', image, mount])
  try {
    const seen = await walk(mount)
    const wanted = expected(rich.manifest.entries, new Map(specs.map((s) => [s.path, s])))
    assert.equal(seen.length, wanted.length)
    const byPath = new Map(seen.map((s) => [s.path, s]))
    const inodes = new Map<number, number>()
    for (const want of wanted) {
      const got = byPath.get(want.path)
      assert.ok(got, `missing: ${Buffer.from(want.path, 'hex')}`)
      // inode numbers are the file system's own: what counts is which names share one
      assert.equal(inodes.get(want.ino) ?? got.ino, got.ino)
      inodes.set(want.ino, got.ino)
      const directory = (want.mode & 0o170000) === 0o040000
      assert.deepEqual({ ...got, ino: 0, size: directory ? 0 : got.size }, { ...want, ino: 0 })
    }
    assert.equal(new Set(inodes.values()).size, inodes.size, 'two files share an inode')
  } finally {
    await run('umount', [mount])
  }
})

test('the same tree gives the same bytes, and another tree another UUID', () => {
  const shuffled = fixture(
    richTree()
      .filter((s) => !('link' in s))
      .reverse()
      .concat(richTree().filter((s) => 'link' in s)),
  )
  assert.ok(shuffled.synthesised.metadata.equals(rich.synthesised.metadata))
  const uuid = (f: Fixture) => f.synthesised.metadata.subarray(1024 + 0x30, 1024 + 0x40).toString('hex')
  assert.notEqual(uuid(fixture([{ path: 'a', data: Buffer.from('a') }])), uuid(fixture([])))
})

test('a tree of nothing but its root is one block, and zeros up to a whole block of hashes', async () => {
  const empty = fixture([])
  assert.equal(empty.synthesised.metadataBlocks, 1)
  assert.equal(empty.synthesised.dataBlocks, 128)
  const path = join(dir, 'empty')
  const fd = openSync(path, 'w')
  writeSync(fd, empty.image())
  closeSync(fd)
  await run('fsck.erofs', [path])
})

test('extents are sorted, do not overlap and fill the data region but for the ends of blocks of hashes', () => {
  const { extents, segments, dataBlocks } = rich.synthesised
  const whole = (block: number) => Math.ceil(block / 128) * 128
  let block = rich.synthesised.metadataBlocks
  for (const extent of extents) {
    assert.equal(extent.block, segments.includes(extent.block) ? whole(block) : block)
    block = extent.block + extent.blocks
  }
  assert.equal(whole(block), dataBlocks)
  assert.equal(rich.synthesised.metadata.length, rich.synthesised.metadataBlocks * BLOCK)
})

test('60,000 files in 600 directories have an inode each', async () => {
  const many: Spec[] = []
  for (let n = 0; n < 60_000; n++) many.push({ path: `d${n % 600}/f${n}`, data: Buffer.alloc(0) })
  const { metadata } = fixture(many).synthesised
  assert.equal(metadata.readBigUInt64LE(1024 + 0x10), 60_601n)
})

test('what contradicts itself is refused by name', () => {
  const { manifest } = fixture([
    { path: 'a/b', data: Buffer.from('b') },
    { path: 'a/c', symlink: 'b' },
    { path: 'big', data: Buffer.alloc(200_000, 1) },
  ])
  const spoil = (change: (entries: Entry[]) => void, code: string, text: RegExp) => {
    const entries = structuredClone(manifest.entries).map((e) => ({ ...e, name: Buffer.from(e.name) })) as Entry[]
    for (const e of entries) if (e.type === 'symlink') e.target = Buffer.from(e.target)
    synthesise({ entries, packs: manifest.packs })
    change(entries)
    assert.throws(
      () => synthesise({ entries, packs: manifest.packs }),
      (error: Error & { code: string }) => {
        assert.equal(error.code, code)
        assert.match(error.message, text)
        return true
      },
    )
  }
  const at = (path: string) => manifest.entries.findIndex((_, n) => pathOf(manifest.entries, n) === path)
  spoil((e) => (e[at('/a/b')]!.name = Buffer.from('z')), 'bad-tree', /"\/a\/c": not in canonical order/)
  spoil((e) => (e[at('/a/c')]!.name = Buffer.from('x/y')), 'bad-tree', /not a name/)
  spoil((e) => (e[at('/a/c')]!.name = Buffer.of(0x2e, 0x2e)), 'bad-tree', /not in canonical order, or not a name/)
  spoil((e) => (e[at('/a/c')]!.parent = at('/big')), 'bad-tree', /not in canonical order/)
  spoil((e) => ((e[at('/big')] as { size: number }).size = 5), 'bad-tree', /"\/big": 2 chunks for 5 bytes/)
  spoil((e) => ((e[at('/a/b')] as { size: number }).size = 5000), 'bad-tree', /does not fit in its pack/)
  spoil((e) => ((e[at('/a/c')] as { target: Buffer }).target = Buffer.alloc(5000, 1)), 'bad-tree', /symbolic link/)
  const strange = { name: Buffer.from('odd.name'), value: Buffer.alloc(1) }
  spoil((e) => (e[at('/big')]!.xattrs = [strange]), 'xattr-unsupported', /"\/big": extended attribute "odd.name"/)
})
