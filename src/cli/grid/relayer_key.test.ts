import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { relayerKey } from './relayer_key.ts'

test('the account that pays is read from a file that is named, or there is none', () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-key-'))
  const file = join(dir, 'key')
  try {
    delete process.env.ZOS_RELAYER_KEY_FILE
    assert.equal(relayerKey(), undefined)
    process.env.ZOS_RELAYER_KEY_FILE = file
    assert.throws(relayerKey, /Read the relayer's key from ".*key".*: ENOENT/)
    for (const text of ['', 'ab', 'zz'.repeat(32), 'ab'.repeat(33)]) {
      writeFileSync(file, text)
      assert.throws(
        relayerKey,
        (error: Error) => /64 hex digits/.test(error.message) && !error.message.includes('abab'),
      )
    }
    for (const text of ['AB'.repeat(32), `0x${'ab'.repeat(32)}\n`]) {
      writeFileSync(file, text)
      assert.equal(relayerKey(), `0x${'ab'.repeat(32)}`)
    }
  } finally {
    delete process.env.ZOS_RELAYER_KEY_FILE
    rmSync(dir, { recursive: true, force: true })
  }
})
