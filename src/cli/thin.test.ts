import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'node:test'

const ZOS = resolve(import.meta.dirname, '../../zos')

/** Source files loaded by `zos ARGS` when the daemon does not answer with anything useful. */
function loaded(args: string[]): { own: string[]; foreign: string[]; http: boolean } {
  const dir = mkdtempSync(join(tmpdir(), 'zos-thin-'))
  try {
    const hook = join(dir, 'hook.mjs')
    writeFileSync(
      hook,
      `import { registerHooks } from 'node:module'
       const seen = []
       registerHooks({ load(url, context, next) { if (url.startsWith('file:')) seen.push(url); return next(url, context) } })
       process.on('exit', () => process.stderr.write('\\nLOADED ' + JSON.stringify({ seen, http: process.moduleLoadList.includes('NativeModule http') }) + '\\n'))`,
    )
    // a run folder that is a file: connecting fails with ENOTDIR, so that no daemon is started
    writeFileSync(join(dir, 'run'), '')
    const said = spawnSync(ZOS, args, {
      env: {
        PATH: process.env.PATH ?? '',
        HOME: dir,
        ZOS_HOME: join(dir, 'home'),
        ZOS_API: join(dir, 'run/api.sock'),
        NODE_OPTIONS: `--import ${hook}`,
      },
      timeout: 60_000,
    })
    // what made the packed file, if this was the first, ran before
    const line = /.*LOADED (.*)/s.exec(String(said.stderr))?.[1]
    assert.ok(line, String(said.stderr))
    const { seen, http } = JSON.parse(line) as { seen: string[]; http: boolean }
    const files = seen.filter((u) => !u.endsWith('hook.mjs'))
    return {
      own: files.filter((u) => !u.includes('node_modules')),
      foreign: files.filter((u) => u.includes('node_modules')),
      http,
    }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

test('a command loads few files, no package and no HTTP stack before its first request', () => {
  for (const args of [
    ['run', '--rm', 'web', 'true'],
    ['ps', '-a'],
    ['exec', 'x', 'true'],
    ['stop', 'x'],
    ['create', 'web'],
    ['wait', 'x'],
    ['inspect', '-f', '{{.State.ExitCode}}', 'x'],
  ]) {
    const { own, foreign, http } = loaded(args)
    assert.ok(own.length > 3 && own.length <= 21, `zos ${args.join(' ')} loads ${own.length} files:\n${own.join('\n')}`)
    assert.deepEqual(foreign, [])
    assert.equal(http, false)
  }
})

test('what needs no chain loads neither the contract nor its packages; what does loads them as one file', () => {
  const inside = (files: string[], path: string) => files.filter((u) => u.includes(path))
  const keys = loaded(['key', 'ls'])
  assert.ok(keys.own.length <= 50, keys.own.join('\n'))
  assert.deepEqual([keys.foreign, inside(keys.own, 'src/contract/actions')], [[], []])
  const status = loaded(['grid', 'status'])
  assert.ok(status.own.length <= 100, status.own.join('\n'))
  assert.deepEqual(
    [status.foreign, inside(status.own, 'src/contract'), inside(status.own, '.cache/packed')],
    [[], [], []],
  )
  const chain = loaded(['group', 'ls'])
  assert.equal(inside(chain.own, '.cache/packed').length, 1)
  assert.ok(chain.own.length <= 128, chain.own.join('\n'))
  // those of the overlay's addresses
  assert.ok(chain.foreign.length <= 2, chain.foreign.join('\n'))
})
