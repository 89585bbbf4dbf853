import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { sha256Hex } from '#codec'
import { diff, encodeManifest } from '#zosfs'
import type { Manifest } from '../types.ts'
import { importDirectory } from './dir.ts'
import { type TarEntry, tar } from './fixture_image.ts'
import { contentOf, finished, image, lower, names, root, text } from './fixture_import.ts'
import { paxTime } from './tar_reader.ts'

test('rm -rf d && mkdir d && touch d/n: the opaque marker hides what was below, wherever it stands', async () => {
  const upper: TarEntry[] = [{ name: 'd/' }, { name: 'd/n', data: text('n') }, { name: 'd/.wh..wh..opq' }]
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [2, 0, 1],
  ]) {
    const m = await image([lower, order.map((n) => upper[n]!)])
    assert.deepEqual(names(m), ['/b', '/c', '/d', '/d/n'], String(order))
  }
})

test('an opaque marker keeps what its own layer put into a lower directory', async () => {
  const m = await image([lower, [{ name: 'd/sub/new', data: text('x') }, { name: 'd/.wh..wh..opq' }]])
  assert.deepEqual(names(m), ['/b', '/c', '/d', '/d/sub', '/d/sub/new'])
})

test('a whiteout takes one name; the other name of the file survives with its content', async () => {
  const m = await image([lower, [{ name: '.wh.b' }]])
  assert.deepEqual(names(m), ['/c', '/d', '/d/old', '/d/sub', '/d/sub/older'])
  assert.equal((await contentOf(m, '/c')).toString(), 'b')
  assert.equal(m.entries[1]!.type, 'file')
})

test('a whiteout hides earlier layers only: what its own layer puts there stays, before and after it', async () => {
  const [file, mark]: TarEntry[] = [{ name: 'b', data: text('new') }, { name: '.wh.b' }]
  for (const layer of [
    [file!, mark!],
    [mark!, file!],
  ]) {
    const m = await image([lower, layer])
    assert.equal((await contentOf(m, '/b')).toString(), 'new')
    assert.equal((await contentOf(m, '/c')).toString(), 'b')
  }
  const gone = await image([lower, [{ name: '.wh.d' }], [{ name: 'd/again', data: text('x') }]])
  assert.deepEqual(names(gone), ['/b', '/c', '/d', '/d/again'])
})

test('files replace directories and the other way round; whiteouts of nothing and AUFS names do nothing', async () => {
  const m = await image([
    lower,
    [{ name: 'd', data: text('file now') }, { name: 'b/' }, { name: 'b/in', data: text('x') }],
    [{ name: '.wh.nothing' }, { name: 'no/where/.wh..wh..opq' }, { name: '.wh..wh.plnk/' }],
  ])
  assert.deepEqual(names(m), ['/b', '/b/in', '/c', '/d'])
})

test('a hard link to an earlier layer is the same file', async () => {
  const m = await image([lower, [{ name: 'z', type: '1', link: './d/old' }]])
  assert.equal((await contentOf(m, '/z')).toString(), 'old')
  assert.equal(m.entries.at(-1)!.type, 'hardlink')
})

test('a path through a symbolic link lands where a kernel would put it, and never outside', async () => {
  const m = await image([
    [{ name: 'lib', type: '2', link: 'usr/lib' }, { name: 'usr/lib/' }, { name: 'up', type: '2', link: '../../../..' }],
    [
      { name: 'lib/x', data: text('x') },
      { name: 'up/etc/passwd', data: text('root') },
      { name: '/absolute', data: text('a') },
    ],
  ])
  assert.deepEqual(names(m), ['/absolute', '/etc', '/etc/passwd', '/lib', '/up', '/usr', '/usr/lib', '/usr/lib/x'])
})

test('metadata survives byte for byte', async () => {
  const binary = '\x01\x00\x00\x02\xff\xfe\n='
  const long = `${'d'.repeat(150)}/${'f'.repeat(255)}`
  const m = await image([
    [
      { name: 'usr/', mode: 0o711, uid: 7, mtime: 5 },
      {
        name: 'caf\xe9\xff',
        data: text('latin1'),
        mode: 0o6755,
        uid: 100_000,
        pax: { gid: '4294967294' },
      },
      {
        name: 'cap',
        data: text('c'),
        pax: { 'SCHILY.xattr.security.capability': binary, 'SCHILY.xattr.user.\xe9': '' },
      },
      { name: 'time', data: text('t'), pax: { mtime: '-1.25' } },
      { name: 'utf8', type: '2', link: '\xff\xfe', pax: { path: 'caf\xc3\xa9 \xff' } },
      { name: long, data: text('long') },
      { name: 'null', type: '3', device: [1, 3], mode: 0o666 },
      { name: 'disk', type: '4', device: [259, 70_000] },
      { name: 'pipe', type: '6' },
    ],
  ])
  const byName = new Map(m.entries.map((e) => [e.name.toString('latin1'), e]))
  assert.deepEqual([m.entries[0]!.mode & 0o7777, m.entries[0]!.uid], [0o711, 7], 'the root is as /usr is')
  const latin = byName.get('caf\xe9\xff')!
  assert.deepEqual([latin.mode, latin.uid, latin.gid], [0o106755, 100_000, 4_294_967_294])
  assert.deepEqual(
    byName.get('cap')!.xattrs.map(({ name, value }) => [name.toString('latin1'), value.toString('latin1')]),
    [
      ['security.capability', binary],
      ['user.\xe9', ''],
    ],
  )
  assert.deepEqual(byName.get('time')!.mtime, { seconds: -2n, nanoseconds: 750_000_000 })
  const link = byName.get('caf\xc3\xa9 \xff')!
  assert.equal(link.type === 'symlink' && link.target.toString('latin1'), '\xff\xfe')
  assert.ok(byName.has('f'.repeat(255)))
  const disk = byName.get('disk')!
  assert.deepEqual(disk.type === 'block' && [disk.major, disk.minor], [259, 70_000])
  assert.equal(byName.get('pipe')!.type, 'fifo')
})

test('PAX times are exact', () => {
  assert.deepEqual(paxTime('1234.5'), { seconds: 1234n, nanoseconds: 500_000_000 })
  assert.deepEqual(paxTime('1234.123456789999'), { seconds: 1234n, nanoseconds: 123_456_789 })
  assert.deepEqual(paxTime('-0.000000001'), { seconds: -1n, nanoseconds: 999_999_999 })
  assert.equal(paxTime('x'), undefined)
})

test('sparse files of GNU tar and zero chunks are holes', async () => {
  const data = Buffer.alloc(300_000, 7)
  const size = 5_000_000_000
  const map = `2\n4096\n300000\n${size}\n0\n`
  const m = await image([
    [
      {
        name: 'GNUSparseFile.0/x',
        data: Buffer.concat([text(map.padEnd(512, '\0')), data]),
        pax: {
          'GNU.sparse.major': '1',
          'GNU.sparse.minor': '0',
          'GNU.sparse.name': 'x',
          'GNU.sparse.realsize': String(size),
        },
      },
      { name: 'y', data: text('end'), pax: { 'GNU.sparse.map': '700000,3', 'GNU.sparse.size': '700003' } },
      { name: 'z', data: Buffer.alloc(400_000) },
    ],
  ])
  const [x, y, z] = m.entries
    .slice(1)
    .map((e) =>
      e.type === 'file' && e.content.kind === 'chunks' ? { size: e.size, chunks: e.content.chunks } : assert.fail(),
    )
  assert.equal(x!.size, size)
  assert.equal(x!.chunks.filter(Boolean).length, 1)
  assert.equal(y!.chunks.filter(Boolean).length, 1)
  assert.equal((await contentOf(m, '/y')).indexOf('end'), 700_000)
  assert.deepEqual(z!.chunks, [undefined, undefined, undefined, undefined])
})

test('the same tree gives the same bytes whatever the order of input, and from a folder as from an archive', async () => {
  const entries: TarEntry[] = [{ name: './', mode: 0o750, mtime: 1 }]
  for (const dir of ['a', 'a/b', 'z', '-', '!']) entries.push({ name: `${dir}/`, mtime: 3 })
  for (let n = 0; n < 60; n++) {
    entries.push({
      name: `${['a', 'a/b', 'z', '-', '!'][n % 5]}/f${n}`,
      data: Buffer.alloc(n * 997, `${n} `),
      mtime: n,
      uid: n % 3,
    })
  }
  entries.push({ name: 'big', data: Buffer.alloc(500_000, 'big') }, { name: 'l', type: '2', link: 'a', mtime: 9 })
  const links: TarEntry[] = [
    { name: 'a/link', type: '1', link: 'z/f2' },
    { name: 'zz', type: '1', link: 'a/link' },
  ]
  const digest = async (m: Manifest | Promise<Manifest>) => sha256Hex(encodeManifest(await m).bytes)
  const expected = await digest(image([[...entries, ...links]]))
  assert.equal(await digest(image([[...entries.toReversed(), ...links]])), expected)
  assert.equal(await digest(image([[...entries.slice(30), ...entries.slice(0, 30), ...links]])), expected)
  if (process.getuid?.() !== 0) return
  const dir = join(root, 'folder')
  mkdirSync(dir)
  execFileSync('tar', ['-xp', '--delay-directory-restore', '-C', dir], { input: tar([...entries, ...links]) })
  const folder = await finished((sink) => importDirectory(dir, sink))
  assert.deepEqual(diff(await image([[...entries, ...links]]), folder), [])
  assert.equal(await digest(folder), expected)
})

test('layers may be gzip, zstd or plain, whatever their media type says', async () => {
  const forms = [(b: Buffer) => zstdCompressSync(b), (b: Buffer) => b, undefined]
  for (const compress of forms) {
    assert.deepEqual(names(await image([lower], compress ? { compress } : {})), [
      '/b',
      '/c',
      '/d',
      '/d/old',
      '/d/sub',
      '/d/sub/older',
    ])
  }
})

test('127 layers, each over the one before: the last word counts', async () => {
  const layers = Array.from({ length: 127 }, (_, n): TarEntry[] => [
    { name: `own-${n}`, data: text(`${n}`) },
    { name: 'shared', data: text(`layer ${n}`) },
    ...(n > 0 ? [{ name: `.wh.own-${n - 1}` }] : []),
  ])
  const manifest = await image(layers)
  assert.deepEqual(names(manifest), ['/own-126', '/shared'])
  assert.equal((await contentOf(manifest, '/shared')).toString(), 'layer 126')
})
