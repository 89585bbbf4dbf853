import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runRequest } from './request.ts'

const requestOf = (...args: string[]) => runRequest('run', [...args, 'box']).request

test('the environment comes from files and words, with names alone from here', () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-env-'))
  process.env.ZOS_TEST_HERE = 'here'
  try {
    const file = join(dir, 'env')
    writeFileSync(file, '# why\n\n  A=1 # kept\nZOS_TEST_HERE\nZOS_TEST_NOWHERE\nB=x=y\n')
    const env = requestOf('--env-file', file, '-e', 'A=2', '-e', 'C=').env
    assert.deepEqual(env, ['A=1 # kept', 'ZOS_TEST_HERE=here', 'B=x=y', 'A=2', 'C='])
    assert.throws(() => requestOf('--env-file', join(dir, 'none')), {
      code: 'usage',
      message: /Read --env-file ".*none"/,
    })
  } finally {
    delete process.env.ZOS_TEST_HERE
    rmSync(dir, { recursive: true })
  }
})

test('what the program could not be given is refused, and names itself', () => {
  for (const args of [
    ['-e', ''],
    ['-e', '=x'],
    ['-w', 'relative'],
    ['-w', ''],
    ['--hostname', 'a b'],
    ['--hostname', 'x'.repeat(65)],
    ['--hostname', 'a\n127.0.0.1 b'],
    ['--hostname', ''],
    ['--memory', '0'],
    ['--cpus', '-1'],
    ['--stop-timeout', 'soon'],
    ['--pids-limit', '-2'],
    ['--pids-limit', '1.5'],
    ['--rm', '--restart', 'always'],
    ['--network', 'host'],
  ])
    assert.throws(() => requestOf(...args), { code: 'usage' }, args.join(' '))
  assert.equal(requestOf('--hostname', 'x'.repeat(64)).hostname, 'x'.repeat(64))
  assert.equal(requestOf('-w', '/srv').workdir, '/srv')
  assert.equal(requestOf('--pids-limit', '-1').pidsLimit, undefined)
  assert.throws(() => runRequest('run', ['-d']), { code: 'usage', message: /name an image/ })
})
