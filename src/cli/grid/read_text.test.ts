import assert from 'node:assert/strict'
import test from 'node:test'
import { readText } from './read_text.ts'

test('a file that has no end is refused, and one that is as long as may be is read', () => {
  assert.throws(() => readText('/dev/zero', 100_000), /^ZosError: it is longer than 100000 bytes$/)
  assert.equal(readText('/dev/null', 0), '')
  const own = readText(import.meta.filename, 1 << 20)
  assert.equal(readText(import.meta.filename, Buffer.byteLength(own)), own)
})
