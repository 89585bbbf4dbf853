import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import test from 'node:test'
import { codeOf } from '#codec'
import { tryRun } from '#sys'

test('the deadline ends the wait, whoever else holds the pipes of the program', { timeout: 120_000 }, async () => {
  const note = join(mkdtempSync(join(tmpdir(), 'zos-process-')), 'pid')
  // where the cores are so loaded that it had not come to its first line by then, it has longer
  for (let timeout = 1000; !existsSync(note) && timeout < 60_000; timeout *= 5) {
    const held = tryRun('sh', ['-c', `sleep 600 & echo $! > ${note}; wait`], { timeout })
    await assert.rejects(held, (error) => codeOf(error) === 'program-out-of-bounds')
  }
  process.kill(Number(readFileSync(note, 'utf8')))
  rmSync(dirname(note), { recursive: true })
})

test('a folder that is not there is not said to be a program that is not installed', async () => {
  const cwd = join(tmpdir(), 'zos-no-such-folder')
  await assert.rejects(tryRun('true', [], { cwd }), (error) => {
    assert.equal(codeOf(error), 'spawn-failed')
    assert.ok((error as Error).message.includes(cwd))
    return true
  })
  await assert.rejects(tryRun('zos-no-such-program', []), (error) => codeOf(error) === 'program-missing')
})

test('each line of standard error is passed on, also one that ends with the program', async () => {
  const lines: string[] = []
  await tryRun('sh', ['-c', 'printf "one\\ntwo" >&2'], { onLine: (line) => lines.push(line) })
  assert.deepEqual(lines, ['one', 'two'])
})
