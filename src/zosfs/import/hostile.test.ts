import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import test from 'node:test'
import type { ZosError } from '#codec'
import { type ImageOptions, type TarEntry, tar } from './fixture_image.ts'
import { image, lower, root, text } from './fixture_import.ts'

const whole = tar(lower)
const bomb = Array.from({ length: 10_001 }, (_, n): TarEntry => ({ name: `dev/n${n}`, type: '3', device: [1, 3] }))
const hostile: [
  what: string,
  layers: (TarEntry[] | Buffer)[],
  code: string,
  message: RegExp,
  options?: ImageOptions,
][] = [
  ['..', [[{ name: '../evil', data: text('x') }]], 'bad-entry', /Import "\.\.\/evil": the path has a "\.\."/],
  ['inner ..', [[{ name: 'a/../../evil', data: text('x') }]], 'bad-entry', /Import "a\/\.\.\/\.\.\/evil"/],
  ['link to ..', [[{ name: 'x', type: '1', link: '../../etc/passwd' }]], 'bad-entry', /\.\./],
  [
    'link to nothing',
    [[{ name: 'x', type: '1', link: 'etc/passwd' }]],
    'bad-entry',
    /"x": it is a hard link to "etc\/passwd"/,
  ],
  [
    'link to a directory',
    [[{ name: 'd/' }, { name: 'x', type: '1', link: 'd' }]],
    'bad-entry',
    /hard link to the directory/,
  ],
  [
    'file as parent',
    [
      [
        { name: 'f', data: text('x') },
        { name: 'f/x', data: text('x') },
      ],
    ],
    'bad-entry',
    /"f" on the way is a file/,
  ],
  [
    'symlink loop',
    [
      [
        { name: 'a', type: '2', link: 'b' },
        { name: 'b', type: '2', link: 'a' },
        { name: 'a/x', data: text('x') },
      ],
    ],
    'bad-entry',
    /too many symbolic links/,
  ],
  ['name of 256 bytes', [[{ name: 'n'.repeat(256), data: text('x') }]], 'bad-entry', /256 bytes is longer/],
  ['name of 5 GB', [[{ name: 'x', type: 'L', size: 5 * 2 ** 30 }]], 'bad-archive', /layer 1 of 1/],
  ['link name of 5 GB', [[{ name: 'x', type: 'K', size: 5 * 2 ** 30 }]], 'bad-archive', /layer 1 of 1/],
  ['PAX header of 5 GB', [[{ name: 'x', type: 'x', size: 5 * 2 ** 30 }]], 'bad-archive', /layer 1 of 1/],
  [
    'PAX size of 2^53',
    [[{ name: 'x', pax: { size: '9007199254740993' } }]],
    'bad-entry',
    /"x": its size is not a number of bytes/,
  ],
  ['PAX path of 70 kB', [[{ name: 'x', pax: { path: 'n/'.repeat(35_000) } }]], 'bad-entry', /Import/],
  ['file longer than the archive', [tar([{ name: 'x', size: 6 * 2 ** 30 }])], 'bad-archive', /layer 1 of 1.*end/],
  ['device bomb', [bomb], 'tree-too-large', /more than 10000 device nodes/],
  ['uid out of range', [[{ name: 'x', pax: { uid: '-1' } }]], 'bad-entry', /its uid is -1/],
  ['damaged PAX', [[{ name: 'x', type: 'x', data: text('99 path=evil\n') }]], 'bad-archive', /PAX/],
  [
    'sparse map backwards',
    [[{ name: 'x', data: text('ab'), pax: { 'GNU.sparse.map': '5,1,0,1', 'GNU.sparse.size': '9' } }]],
    'bad-entry',
    /sparse map/,
  ],
  ['truncated in a file', [whole.subarray(0, 1200)], 'bad-archive', /layer 1 of 1/],
  ['truncated gzip', [whole], 'bad-image', /layer 1 of 1/, { spoil: (b) => b.subarray(0, b.length - 20) }],
  [
    'flipped blob',
    [whole],
    'bad-image',
    /layer 1 of 1/,
    { spoil: (b) => Buffer.from(b.map((x, n) => (n === b.length - 6 ? x ^ 1 : x))) },
  ],
  [
    'another blob',
    [whole],
    'bad-image',
    /has the digest "sha256:[0-9a-f]{64}" instead of/,
    { compress: (b) => b, spoil: () => tar([]) },
  ],
  [
    'wrong diff id',
    [whole],
    'bad-image',
    /unpacks to "sha256:/,
    { diffIds: (ids) => ids.map((d) => d.replace(/.$/, 'g')) },
  ],
  ['missing diff id', [whole], 'bad-image', /1 layers, but its config names 0/, { diffIds: () => [] }],
  [
    'a layer that is compressed otherwise',
    [whole],
    'bad-archive',
    /layer 1 of 1: it is compressed with xz; unpack it/,
    { compress: () => Buffer.from('\xfd7zXZ\0\0', 'latin1') },
  ],
  [
    'foreign architecture',
    [whole],
    'foreign-architecture',
    /it is for "s390x", this node is "amd64"/,
    { architecture: 's390x' },
  ],
  [
    'Env that is a text',
    [whole],
    'bad-image',
    /"Env" of its config is not a list of texts/,
    { config: { Env: 'A=1' } },
  ],
  ['Cmd with a number', [whole], 'bad-image', /"Cmd" of its config/, { config: { Cmd: ['sleep', 1] } }],
  ['Labels in a list', [whole], 'bad-image', /"Labels" of its config/, { config: { Labels: ['a'] } }],
  ['a check that is a text', [whole], 'bad-image', /"Healthcheck" of its/, { config: { Healthcheck: { Test: 'a' } } }],
]
for (const [what, layers, code, message, options] of hostile) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(image(layers, options), (error: ZosError) => {
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      return true
    })
    assert.ok(!readdirSync(root).includes('evil'))
  })
}

test('a mutated archive is refused or read, never crashes', async () => {
  let x = 1
  const next = () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    return x / 2 ** 32
  }
  let refused = 0
  for (let n = 0; n < 150; n++) {
    const bad = Buffer.from(whole)
    for (let k = 0; k < 4; k++) bad[Math.floor(next() * 2560)] = Math.floor(next() * 256)
    // the checksum of a header hides most mutations: make it right again
    for (let at = 0; at + 512 <= bad.length; at += 512) {
      if (bad.toString('latin1', at + 257, at + 262) !== 'ustar') continue
      bad.write('        ', at + 148)
      const sum = bad.subarray(at, at + 512).reduce((a, b) => a + b, 0)
      bad.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148)
    }
    await image([bad], { compress: (b) => b }).catch((error: ZosError) => {
      assert.match(error.code, /^(bad-archive|bad-entry|bad-image|tree-too-large)$/, error.message)
      refused++
    })
  }
  assert.ok(refused > 10 && refused < 150, `${refused} refused`)
})
