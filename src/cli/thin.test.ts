import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import test from 'node:test'

const MAIN = resolve(import.meta.dirname, 'main.ts')

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
    const said = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--import', hook, MAIN, ...args],
      {
        env: { PATH: process.env.PATH ?? '', HOME: dir, ZOS_API: join(dir, 'run/api.sock') },
        timeout: 30_000,
      },
    )
    const line = /LOADED (.*)/.exec(String(said.stderr))?.[1]
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
    assert.ok(own.length > 3 && own.length <= 20, `zos ${args.join(' ')} loads ${own.length} files:\n${own.join('\n')}`)
    assert.deepEqual(foreign, [])
    assert.equal(http, false)
  }
})
