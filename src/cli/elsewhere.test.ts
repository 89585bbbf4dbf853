import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import test from 'node:test'
import { commands } from './commands.ts'
import { insteadOfCommand, insteadOfFlag } from './elsewhere.ts'

const ROOT = resolve(import.meta.dirname, '../..')

test('a word of Docker that is not there is answered with what does its work, a slip with what was meant', () => {
  const known = Object.keys(commands)
  assert.match(insteadOfCommand('pull', known), /^: "zos publish docker:/)
  assert.equal(insteadOfCommand('imges', known), '; is "images" meant?')
  assert.equal(insteadOfCommand('frobnicate', known), '; "zos help" lists them')
  assert.match(insteadOfFlag('run', 'privileged', ['rm']), /^: a workload is a machine of its own/)
  assert.equal(insteadOfFlag('stop', 'privileged', ['time']), '; "zos stop --help" lists them')
  assert.equal(insteadOfFlag('run', 'memry', ['memory', 'rm']), '; is "--memory" meant?')
  assert.equal(insteadOfFlag('run', 'constructor', []), '; "zos run --help" lists them')
})

test('no command that is there is called missing, and what docs call missing is answered', () => {
  const [, row = ''] = /^\| (`build`.*?) \|/m.exec(readFileSync(`${ROOT}/docs/docker.md`, 'utf8')) ?? []
  const missing = [...row.matchAll(/`(\w+)`/g)].map((found) => found[1]!)
  assert.ok(missing.length > 8)
  for (const word of missing) {
    assert.equal(commands[word], undefined, word)
    assert.match(insteadOfCommand(word, []), /^: /, word)
  }
})

test('the command line says it in one line, and answers --version', () => {
  const zos = (...args: string[]) => spawnSync(`${ROOT}/zos`, args, { env: { ...process.env, ZOS_HOME: '/nowhere' } })
  assert.equal(String(zos('run', '--privileged', 'x').stderr).split('\n').length, 2)
  assert.match(String(zos('run', '--privileged', 'x').stderr), /^zos run: unknown flag "--privileged": a workload is/)
  assert.match(String(zos('pull', 'x').stderr), /^zos: no command "pull": "zos publish/)
  for (const flag of ['--version', '-v']) assert.match(String(zos(flag).stdout), /^zos +\d+\.\d+/)
})
