import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test, { after } from 'node:test'
import { table } from './terminal.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'zos-output-'))
after(() => rmSync(work, { recursive: true }))
const env = { ...process.env, ZOS_HOME: join(work, 'home'), ZOS_HUB: '' }
const zos = (...args: string[]) => spawnSync('./zos', args, { cwd: ROOT, env, encoding: 'utf8' })

test('whoever reads no further ends a command as any program in a pipe, without a word', () => {
  const piped = 'set -o pipefail; { sleep 1; ./zos help; } | true'
  const { status, stderr } = spawnSync('bash', ['-c', piped], { cwd: ROOT, env, encoding: 'utf8' })
  assert.deepEqual([status, stderr], [141, ''])
})

test('names of files that would steer a terminal are shown without what does', () => {
  const tree = join(work, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'a\x1b]0;owned\x07b'), 'x')
  assert.equal(zos('publish', '-q', `dir:${tree}`, 'odd').status, 0)
  rmSync(join(tree, 'a\x1b]0;owned\x07b'))
  assert.equal(zos('publish', '-q', `dir:${tree}`, 'empty').status, 0)
  for (const args of ['ls odd', 'diff empty odd']) {
    const { stdout } = zos('flist', ...args.split(' '))
    assert.match(stdout, /a\?\]0;owned\?b/, args)
    assert.ok(!stdout.includes('\x1b'), args)
  }
  assert.ok(!zos('flist', 'ls', 'odd', '/\x1b[2J').stderr.includes('\x1b'))
})

test('a table shows what others named without what would steer a terminal, in columns as wide as what is shown', () => {
  assert.equal(table(['NAME', 'B'], [['n\x1b[2J\n', 'b\u202e']]), 'NAME     B\nn?[2J?   b?\n')
})
