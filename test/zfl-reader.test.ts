// docs/formats/zfl.md is enough to read the format: a reader in another language extracts what ours does.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { encodeManifest, extract, openLibrary, publish } from '#zosfs'
import { fixture } from '../src/zosfs/disk/fixture.ts'
import { richTree } from '../src/zosfs/disk/fixture-rich.ts'

const python = spawnSync('python3', ['-c', 'import ctypes; ctypes.CDLL("libzstd.so.1")']).status === 0
const skip =
  (!python && 'python3 or libzstd is not installed') ||
  (process.getuid?.() !== 0 && 'needs root for owners and devices')

test('the Python reader extracts the rich tree identically', { skip }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'zos-reader-'))
  try {
    await using library = openLibrary({ home: join(root, 'home') })
    const { manifest, chunks } = fixture(
      richTree().filter((spec) => !('xattrs' in spec) || keepable(spec.xattrs ?? {})),
    )
    for (const bytes of chunks.values()) await library.store.put(bytes)
    const { bytes, fingerprints } = encodeManifest(manifest)
    await library.store.putBlob(fingerprints)
    const { id } = await library.store.putBlob(bytes)
    await extract(library.store, manifest, join(root, 'ours'))
    const reader = join(import.meta.dirname, 'zfl_reader.py')
    execFileSync('python3', [reader, library.store.dir, id.toString('hex'), join(root, 'theirs')])
    // published again, both are the same tree: names, content, modes, owners, attributes, times, links, devices
    const ours = await publish(library, `dir:${root}/ours`, 'ours')
    const theirs = await publish(library, `dir:${root}/theirs`, 'theirs')
    assert.equal(theirs.digest, ours.digest)
    assert.ok(ours.files > 40)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})

/** ext4 has room for one block of attributes per file. */
const keepable = (xattrs: Record<string, Buffer>) =>
  Object.values(xattrs).reduce((sum, value) => sum + value.length, 0) < 3000
