import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { programFlags } from './program.ts'

const root = mkdtempSync(join(tmpdir(), 'zos-program-'))
after(() => rmSync(root, { recursive: true, force: true }))

test('packed packages are loaded while they are newer than what they were made from', () => {
  const touch = (path: string, seconds: number) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), '')
    utimesSync(join(root, path), seconds, seconds)
  }
  const packed = () => programFlags(root).includes('--conditions=packed')
  assert.equal(packed(), false, 'nothing is there')
  touch('.cache/packed/npm.mjs', 20)
  for (const list of ['index.ts', 'zod.ts']) touch(`src/npm/${list}`, 10)
  assert.equal(packed(), false, 'nobody knows which packages are installed')
  touch('node_modules/.package-lock.json', 10)
  assert.equal(packed(), true)
  touch('src/npm/index.ts', 30)
  assert.equal(packed(), false, 'the list changed')
  touch('src/npm/index.ts', 10)
  touch('node_modules/.package-lock.json', 30)
  assert.equal(packed(), false, 'others are installed')
})
