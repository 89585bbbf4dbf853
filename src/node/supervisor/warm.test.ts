import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const dir = mkdtempSync(join(tmpdir(), 'zos-warm-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const cache = join(dir, 'compiled')
const kept = () => readdirSync(cache, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length

test('planes are compiled before they first start, and all of them load', () => {
  const program = join(dir, 'program.mjs')
  const module = JSON.stringify(join(import.meta.dirname, 'warm.ts'))
  writeFileSync(program, `import { warmPlanes } from ${module}\nconsole.log(JSON.stringify(await warmPlanes()))`)
  mkdirSync(cache)
  const run = () => {
    const env = { ...process.env, NODE_COMPILE_CACHE: cache }
    const args = ['--disable-warning=ExperimentalWarning', program]
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', env })
    assert.equal(status, 0, stderr)
    return JSON.parse(stdout)
  }
  assert.deepEqual(run(), [])
  const first = kept()
  assert.ok(first > 150, `${first} compiled files`)
  run()
  assert.equal(kept(), first, 'nothing is left to compile')
})
