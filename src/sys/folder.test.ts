import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from '#sys'

test('a folder is made with those above it, or one line says why it cannot be', () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-folder-'))
  try {
    for (const _ of ['made', 'there already']) makeFolder(join(dir, 'a/b/c'), 0o700)
    assert.equal(statSync(join(dir, 'a/b')).mode & 0o777, 0o700)
    symlinkSync(join(dir, 'a'), join(dir, 'link'))
    makeFolder(join(dir, 'link/d'))
    assert.ok(statSync(join(dir, 'a/d')).isDirectory())
    writeFileSync(join(dir, 'file'), '')
    const refused = (path: string, message: RegExp) =>
      assert.throws(() => makeFolder(path), { code: 'bad-folder', message })
    refused(join(dir, 'file'), /^Make folder ".*file": what is there is no folder; name another one$/)
    refused(join(dir, 'file/below'), /Make folder ".*file": what is there is no folder/)
    refused('/proc/none/of/this', /^Make folder "\/proc\/none": ENOENT/)
    refused('/dev/null', /what is there is no folder/)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
