import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test, { after } from 'node:test'
import { blobsIn, dirBackend, openStore, scrub, seal } from '#cas'
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

test('while the hub is away a scrub condemns nothing: what is damaged stays until the hub can be asked', async () => {
  const hubDir = join(root, 'hub')
  const hub = dirBackend(hubDir, { temporary: join(root, 'tmp') })
  await using store = openStore({ dir: join(root, 'cas'), workers: 1, hub })
  const [id] = await Promise.all(
    ['one', 'two'].map(async (text) => {
      const kept = await store.putBlob(Buffer.from(text))
      await store.getBlob(kept.id)
      return kept.id.toString('hex')
    }),
  )
  const here = objectPath(store.dir, id!)
  truncateSync(here, 2)
  renameSync(hubDir, `${hubDir}.away`)
  const { unsure, away, ...report } = await scrub(store)
  assert.deepEqual(report, { checked: 2, bytes: report.bytes, healed: [], lost: [] })
  assert.deepEqual(
    unsure.map((u) => [u.id, u.where]),
    [[id, 'local']],
  )
  assert.deepEqual([away.length, away[0]?.includes(hubDir), existsSync(here)], [1, true, true])
  renameSync(`${hubDir}.away`, hubDir)
  const again = await scrub(store)
  assert.deepEqual([again.healed, again.unsure, again.away], [[{ id, where: 'local' }], [], []])
  assert.equal(String(await store.getBlob(Buffer.from(id!, 'hex'))), 'one')
})
