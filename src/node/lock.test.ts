import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { sleep, until } from '#sys'
import { holderOf, takeLock, whenRemoved } from './lock.ts'

test('a home that was removed is noticed, also when another is in its place; one that was moved is not gone', async () => {
  const home = mkdtempSync(join(tmpdir(), 'zos-lock-'))
  const lock = join(home, 'lock')
  assert.equal(takeLock(lock), true)
  let gone = 0
  whenRemoved(lock, () => gone++, 10)
  const moved = `${home}-moved`
  renameSync(home, moved)
  await sleep(50)
  assert.equal(gone, 0)
  renameSync(moved, home)
  assert.equal(holderOf(lock), process.pid)
  rmSync(home, { recursive: true })
  // this one keeps the event loop going: the look-out alone does not
  await until('it to be noticed', 10_000, () => gone === 1)
  await sleep(50)
  assert.equal(gone, 1)
})
