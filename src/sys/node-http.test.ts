import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

test('HTTP comes without the client of another protocol', () => {
  const program = [
    `import { http } from ${JSON.stringify(join(import.meta.dirname, 'node-http.ts'))}`,
    "console.log(typeof http().createServer, process.moduleLoadList.some((name) => name.includes('undici')))",
  ].join('\n')
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', program]
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  assert.equal(stdout, 'function false\n', stderr)
})
