import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { delimiter, join, resolve } from 'node:path'
import { mock, test } from 'node:test'
import completion from './completion.ts'

const ZOS = resolve(import.meta.dirname, '../../zos')

async function scriptFor(shell: string): Promise<string> {
  let text = ''
  const write = mock.method(process.stdout, 'write', (part: string) => {
    text += part
    return true
  })
  try {
    assert.equal(await completion([shell]), 0)
  } finally {
    write.mock.restore()
  }
  return text
}

const has = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0

/** What SHELL says to SCRIPT, where `zos` is ours. */
function said(shell: string, script: string, flags: string[] = []): string[] {
  const env = { ...process.env, PATH: `${join(ZOS, '..')}${delimiter}${process.env.PATH}` }
  const { status, stdout, stderr } = spawnSync(shell, [...flags, '-c', script], {
    encoding: 'utf8',
    env,
    timeout: 60_000,
  })
  assert.deepEqual([status, stderr], [0, ''])
  return stdout.trim().split(/\s+/)
}

test('bash completes commands, what may follow them, and flags, without running anything', {
  skip: !has('bash'),
}, async () => {
  const script = await scriptFor('bash')
  const complete = (...words: string[]) => {
    const list = words.map((word) => `'${word}'`).join(' ')
    return said(
      'bash',
      `${script}\nCOMP_WORDS=(zos ${list}); COMP_CWORD=${words.length}; _zos; echo "\${COMPREPLY[@]}"`,
    )
  }
  assert.deepEqual(complete('re'), ['restart', 'rename', 'reseal'])
  assert.deepEqual(complete('volume', ''), ['ls', 'create', 'inspect', 'rm', 'grow', 'prune'])
  assert.deepEqual(complete('volume', 'create', '--s'), ['--size'])
  assert.deepEqual(complete('store', 'gc', '--u'), ['--untagged'])
  // behind the image it would be the program's: nothing is run to find out
  assert.deepEqual(complete('run', 'web', '--rea'), ['--read-only'])
  assert.deepEqual(complete('run', ''), [''])
})

test('zsh takes the same for both names', { skip: !has('zsh') && 'needs zsh' }, async () => {
  const script = await scriptFor('zsh')
  assert.deepEqual(said('zsh', `${script}\nprint \${+functions[_zos]} \${_comps[zos]:+known}`, ['-f']), ['1', 'known'])
})

test('fish completes the same', { skip: !has('fish') && 'needs fish' }, async () => {
  const script = await scriptFor('fish')
  const complete = (line: string) => said('fish', `${script}\ncomplete -C ${JSON.stringify(line)}`, ['--no-config'])[0]
  assert.equal(complete('zos resta'), 'restart')
  assert.equal(complete('zos volume pr'), 'prune')
  assert.equal(complete('zos volume create --s'), '--size')
})

test('another shell is refused with what to write', async () => {
  for (const args of [[], ['tcsh'], ['bash', 'zsh'], ['toString']])
    await assert.rejects(completion(args), { code: 'usage', message: /source <\(zos completion bash\)/ })
})
