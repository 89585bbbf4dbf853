import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { sha256Hex } from '#codec'
import { backendConformance } from './conformance.ts'
import { dirBackend } from './dir_backend.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-cas-'))
after(() => rmSync(root, { recursive: true }))

let count = 0
function make() {
  const home = join(root, String(count++))
  const dir = join(home, 'cas')
  return { home, dir, backend: dirBackend(dir, { temporary: join(home, 'tmp') }) }
}

backendConformance('dir', async () => {
  const { dir, backend } = make()
  return { backend, takeAway: async () => renameSync(dir, `${dir}.away`) }
})

test('each object is one plain file under its id, and nothing else is below the folder', async () => {
  const { dir, backend } = make()
  const ids = ['a', 'b', 'c'].map((s) => sha256Hex(Buffer.from(s)))
  for (const id of ids) await backend.put(id, Buffer.from(id))
  await backend.flush()
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((f) => f.isFile())
  assert.deepEqual(files.map((f) => f.parentPath.slice(-2) + f.name).sort(), ids.sort())
})

test('a file cut to nothing by a power failure does not count as there', async () => {
  const { dir, backend } = make()
  const id = sha256Hex(Buffer.from('x'))
  await backend.put(id, Buffer.from('x'))
  writeFileSync(join(dir, id.slice(0, 2), id.slice(2)), '')
  assert.equal(await backend.touch(id), false)
})

test('a folder that is there but empty is a disk not mounted: source-away', async () => {
  const { dir, backend } = make()
  const id = sha256Hex(Buffer.from('x'))
  await backend.put(id, Buffer.from('x'))
  rmSync(join(dir, id.slice(0, 2)), { recursive: true })
  await assert.rejects(backend.get(id), { code: 'source-away' })
})
