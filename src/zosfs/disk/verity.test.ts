import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { leafHashes } from '#cas'
import { run } from '#sys'
import { noise } from './fixture.ts'
import { fsVerityDigest, verityTree } from './verity.ts'

let dir: string
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'zos-verity-'))
})
after(() => rmSync(dir, { recursive: true, force: true }))

test('root and tree are those of veritysetup', async () => {
  for (const blocks of [1, 2, 127, 128, 129, 300, 128 * 128 + 1]) {
    const data = join(dir, 'data')
    const hashes = join(dir, 'hashes')
    const bytes = noise(blocks * 4096, blocks)
    writeFileSync(data, bytes)
    writeFileSync(hashes, '')
    const { stdout } = await run('veritysetup', [
      'format',
      '--no-superblock',
      '--salt=-',
      '--hash=sha256',
      '--data-block-size=4096',
      '--hash-block-size=4096',
      data,
      hashes,
    ])
    const { tree, root } = verityTree(leafHashes(bytes))
    assert.equal(/Root hash:\s+([0-9a-f]{64})/.exec(stdout.toString())?.[1], root.toString('hex'), `${blocks} blocks`)
    // it writes no file at all for the tree of one block
    assert.ok(readFileSync(hashes).equals(tree), `${blocks} blocks: tree`)
  }
})

test('file digests are those of fsverity', async () => {
  for (const size of [0, 1, 4095, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 200_000]) {
    const file = join(dir, 'file')
    const bytes = noise(size, size)
    writeFileSync(file, bytes)
    const { stdout } = await run('fsverity', ['digest', '--compact', file])
    assert.equal(stdout.toString().trim(), fsVerityDigest(leafHashes(bytes), size).toString('hex'), `${size} bytes`)
  }
})
