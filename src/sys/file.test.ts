import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { confinable, run, writeAtomic } from '#sys'

// Node itself has no fsync there
test('files are replaced where there is a permission model too, and many at once', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-file-'))
  try {
    const program = [
      `import { confine, syncDirectory, writeAtomic } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))}`,
      "import { readdirSync, readFileSync } from 'node:fs'",
      `process.chdir(${JSON.stringify(dir)})`,
      "confine({ keeps: ['fs'] })",
      'for (const text of ["old", "new"]) await writeAtomic("one", text, { mode: 0o600 })',
      'await Promise.all(Array.from({ length: 50 }, (_, n) => writeAtomic(String(n), String(n))))',
      'const failed = await syncDirectory("none").catch(({ code }) => code)',
      "console.log(JSON.stringify([readFileSync('one', 'utf8'), readdirSync('.').length, failed]))",
    ].join('\n')
    const args = ['--no-warnings', ...confinable('*'), '--input-type=module', '--eval', program]
    assert.deepEqual(JSON.parse(String((await run(process.execPath, args)).stdout)), ['new', 51, 'ENOENT'])
    await writeAtomic(join(dir, 'one'), 'newer')
  } finally {
    rmSync(dir, { recursive: true })
  }
})
