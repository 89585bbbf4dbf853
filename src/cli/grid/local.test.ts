import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type GridFacts, gridFacts } from './local.ts'

test('a file that describes no grid is told from one that is not there, and from a damaged one', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'zos-facts-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'grid.json')
  assert.throws(() => gridFacts(file), /grid.json" is not there; "zos grid up" makes a local one$/)
  for (const text of ['null', '7', '[]', '{}', '{"format":"zos-grid/0"}']) {
    await writeFile(file, text)
    assert.throws(() => gridFacts(file), /grid.json" does not describe one: it has no "format": "zos-grid\/1"; /, text)
  }
  await writeFile(file, '{')
  assert.throws(() => gridFacts(file), /^ZosError: Read ".*grid.json": it is damaged/)
  await writeFile(file, '{"format":"zos-grid/1"}')
  assert.deepEqual(gridFacts(file), { format: 'zos-grid/1' })
  assert.throws(() => gridFacts(join(dir, 'other'), { format: 'zos-grid/1' } as GridFacts), /other" is not there/)
})
