import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after } from 'node:test'
import { blobsIn, dirBackend, seal } from '#cas'
import { codeOf, sha256Hex } from '#codec'
import { objectPath } from './dir_sync.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-upkeep-'))
after(() => rmSync(root, { recursive: true }))

test('what cannot be looked at is told, not left out: a collection would remove what it names', async () => {
  const dir = join(root, 'unreadable')
  const backend = dirBackend(dir, { temporary: join(root, 'tmp') })
  const id = sha256Hex(Buffer.from('manifest'))
  await backend.put(sha256Hex(Buffer.from('other')), seal('blob', Buffer.from('other')))
  mkdirSync(dirname(objectPath(dir, id)), { recursive: true })
  // stands for a disk that fails: neither can be read, and both are there
  symlinkSync(objectPath(dir, id), objectPath(dir, id))
  const away = (error: unknown) => codeOf(error) === 'source-away'
  await assert.rejects(Array.fromAsync(backend.list()), away)
  const listed = {
    ...backend,
    list: async function* () {
      yield { id, bytes: 1, mtime: 1 }
    },
  }
  await assert.rejects(Array.fromAsync(blobsIn(listed)), away)
})

test('a file cut to nothing is no blob, whatever was looked at before it', async () => {
  const dir = join(root, 'empty')
  const backend = dirBackend(dir, { temporary: join(root, 'tmp') })
  const [blob, cut] = ['00', 'ff'].map((start) => start + sha256Hex(Buffer.from(start)).slice(2)) as [string, string]
  for (const id of [blob, cut]) await backend.put(id, seal('blob', Buffer.from('bytes')))
  writeFileSync(objectPath(dir, cut), '')
  assert.deepEqual(await Array.fromAsync(blobsIn(backend)), [blob])
})
