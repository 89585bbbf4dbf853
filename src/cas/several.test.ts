import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { chunkIdOf, leafHashes } from './chunk.ts'
import { backendConformance } from './conformance.ts'
import { dirBackend } from './dir_backend.ts'
import { severalBackends } from './several.ts'
import { seal } from './stored.ts'

const base = mkdtempSync(join(tmpdir(), 'zos-several-'))
after(() => rmSync(base, { recursive: true, force: true }))
let count = 0
function hubs() {
  const dirs = [0, 1, 2].map((n) => join(base, `${count}-${n}`))
  count++
  return { dirs, each: dirs.map((dir) => dirBackend(dir, { temporary: `${dir}-tmp` })) }
}
const away = (dir: string) => renameSync(dir, `${dir}-gone`)

backendConformance('several', async () => {
  const { dirs, each } = hubs()
  return { backend: severalBackends(each), takeAway: async () => dirs.forEach(away) }
})

test('the first good copy counts: hubs that are away, lack it or hold other bytes are passed over', async () => {
  const { dirs, each } = hubs()
  const all = severalBackends(each)
  const chunk = Buffer.alloc(8192, 7)
  const id = chunkIdOf(leafHashes(chunk)).toString('hex')
  const stored = seal('chunk', chunk)
  const other = '00'.repeat(32)
  await all.put(id, stored)
  await all.put(other, stored)
  writeFileSync(join(dirs[0]!, id.slice(0, 2), id.slice(2)), 'lies')
  await each[1]!.delete(id)
  assert.deepEqual(await all.get(id), stored)
  assert.equal(await all.touch(id), false, 'one lacks it: it is to be written again')
  away(dirs[2]!)
  assert.deepEqual(await all.get(id), Buffer.from('lies'), 'who asked finds the damage')
  await each[0]!.delete(id)
  await assert.rejects(all.get(id), { code: 'source-away' }, 'the one that is away may have it')
  assert.equal(await all.has(other), true)
  await all.put(id, stored)
  assert.deepEqual(await all.get(id), stored, 'written to those that can be reached')
})
