import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { byContent } from './stamp.ts'

test('what is built already is found where nothing can be written; what is not says who may build it', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-stamp-'))
  try {
    const input = join(dir, 'input')
    writeFileSync(input, 'a')
    // a file where the folder of stamps would be: as unwritable for root as for anybody
    writeFileSync(join(dir, 'stamps'), '')
    let made = 0
    const make = async (key: string) => {
      made++
      mkdirSync(join(dir, key))
    }
    const key = await byContent(dir, [input], '', make)
    assert.equal(await byContent(dir, [input], '', make), key)
    assert.equal(made, 1)
    // nobody makes a folder below a file
    const below = join(input, 'cache')
    await assert.rejects(
      byContent(below, [input], '', async () => void mkdirSync(below)),
      /^ZosError: Build in ".*cache": ENOTDIR.*"\.\/zos setup" once/,
    )
    // what can be written has another fault, told as it is
    await assert.rejects(
      byContent(dir, [input], 'b', () => Promise.reject(new Error('no compiler'))),
      /^Error: no compiler/,
    )
  } finally {
    rmSync(dir, { recursive: true })
  }
})
