import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { decodeUtf8, encodeUtf8 } from './utf8.ts'

test('text that is UTF-8 is what everybody takes it for', () => {
  for (const text of ['', 'abc', 'äöü€', '𐍈 and 😀', '\u0000\u007f\u0080\u07ff\u0800\uffff', 'x'.repeat(10_000)]) {
    assert.deepEqual(Buffer.from(encodeUtf8(text)), Buffer.from(text))
    assert.equal(decodeUtf8(Buffer.from(text)), text)
  }
})

test('bytes that are not UTF-8 survive, whatever they are', () => {
  // overlong, surrogate, above U+10FFFF, cut short: RFC 3629 §4
  const hard = ['c0af', 'e08080', 'eda080', 'edb280', 'f4908080', 'f5', 'e282', 'f09f98', '80', 'ff41', 'c3', '41c3']
  const cases = hard.map((hex) => Buffer.from(hex, 'hex'))
  for (let i = 0; i < 2000; i++) cases.push(randomBytes(i % 40))
  for (const bytes of cases) assert.deepEqual(Buffer.from(encodeUtf8(decodeUtf8(bytes))), bytes)
  assert.equal(decodeUtf8(Buffer.from('c0', 'hex')), '\udcc0')
})

test('such text survives JSON too', () => {
  const bytes = Buffer.from('00ff80c3bc', 'hex')
  assert.deepEqual(Buffer.from(encodeUtf8(JSON.parse(JSON.stringify(decodeUtf8(bytes))))), bytes)
})
