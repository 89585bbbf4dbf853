import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { sleep } from '#sys'
import { verifiedFiles } from './verified.ts'

test('a file counts as the verified one until anything touches it', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-verified-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const id = 'ab'.padEnd(64, '0')
  const path = join(dir, 'ab', id.slice(2))
  mkdirSync(join(dir, 'ab'))
  const written = Date.now()
  writeFileSync(path, 'good')
  const verified = verifiedFiles(dir)
  let loads = 0
  const note = () =>
    verified.note(id, async () => {
      loads++
    })

  await note()
  const same = await verified.isSame(id)
  // on a machine that is busy with other things the file may have come of age meanwhile
  if (Date.now() - written < 50) assert.equal(same, false, 'too young to tell')
  await sleep(150)
  await note()
  assert.equal(await verified.isSame(id), true)
  const ways: (() => void)[] = [
    () => writeFileSync(path, 'evil'),
    () => utimesSync(path, 1, 1),
    () => {
      writeFileSync(`${path}.new`, 'good')
      renameSync(`${path}.new`, path)
    },
    () => rmSync(path),
  ]
  for (const touch of ways) {
    touch()
    assert.equal(await verified.isSame(id), false)
    await sleep(150)
    assert.equal(await verified.isSame(id), false)
    await note()
  }
  assert.equal(loads, 6)
  await assert.rejects(
    verified.note(id, async () => {
      throw new Error('damaged')
    }),
  )
  assert.equal(await verified.isSame(id), false)
})
