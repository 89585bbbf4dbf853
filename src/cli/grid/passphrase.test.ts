import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { openKey } from '#contract'

const main = join(import.meta.dirname, '../main.ts')
const node = [process.execPath, '--disable-warning=ExperimentalWarning', main]
const { ZOS_PASSPHRASE: _, ...env } = process.env
const hasScript = spawnSync('script', ['--version']).status === 0

test('a passphrase is asked on the terminal and not shown; without a terminal one line says what to set', {
  skip: !hasScript && 'needs script',
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-ask-'))
  try {
    const home = { ...env, ZOS_HOME: dir }
    const none = spawnSync(node[0]!, [...node.slice(1), 'key', 'new', 'alice'], {
      env: home,
      input: '',
      encoding: 'utf8',
    })
    assert.deepEqual([none.status, none.stderr.split('\n').length], [1, 2])
    assert.match(none.stderr, /^zos: Ask for the new passphrase of "alice": there is no terminal; set ZOS_PASSPHRASE$/m)
    const line = `${node.join(' ')} key new alice`
    const typed = async (first: string, again: string) => {
      const child = spawn('script', ['-qec', line, '/dev/null'], { env: home })
      let shown = ''
      child.stdout.on('data', (d: Buffer) => {
        shown += d
        if (/passphrase of "alice": $/.test(shown)) child.stdin.write(`${first}\r`)
        if (/the same again: $/.test(shown)) child.stdin.write(`${again}\r`)
      })
      await new Promise((resolve) => child.on('close', resolve))
      return shown
    }
    assert.match(
      await typed('correct horse', 'correct house'),
      /zos: Make key "alice": the two passphrases are not the same/,
    )
    assert.equal(existsSync(join(dir, 'keys/alice.json')), false)
    // one sign too many, taken back
    const shown = await typed('correct horsee\x7f', 'correct horse')
    assert.match(shown, /alice: 0x[0-9a-f]{40}/)
    assert.doesNotMatch(shown, /horse/)
    assert.doesNotMatch(readFileSync(join(dir, 'keys/alice.json'), 'utf8'), /horse/)
    assert.equal((await openKey(join(dir, 'keys'), 'alice', 'correct horse')).name, 'alice')
  } finally {
    rmSync(dir, { recursive: true })
  }
})
