import assert from 'node:assert/strict'
import test from 'node:test'
import { DETACH_KEYS, keyWatch, parseKeys } from './detach-keys.ts'

test('keys that leave are found across reads; all else is passed on in order', () => {
  const typed = (...reads: string[]) => {
    const watch = keyWatch(parseKeys(DETACH_KEYS))
    return reads.map((text) => {
      const { pass, left } = watch(Buffer.from(text))
      return `${pass}${left ? '!' : ''}`
    })
  }
  assert.deepEqual(typed('ls\r', '\x10\x11x'), ['ls\r', '!'])
  assert.deepEqual(typed('a\x10', '\x11'), ['a', '!'])
  assert.deepEqual(typed('\x10', 'b', '\x11'), ['', '\x10b', '\x11'])
  assert.deepEqual(typed('\x10\x10\x11'), ['\x10!'])
})

test('detach keys are read as Docker writes them, and others are refused', () => {
  assert.deepEqual([...parseKeys('ctrl-@,q,ctrl-[,ctrl-_')], [0, 0x71, 0x1b, 0x1f])
  for (const bad of ['', 'ctrl-', 'ctrl-1', 'ab', 'a,,b', 'ü'])
    assert.throws(() => parseKeys(bad), /^ZosError: Read --detach-keys/, bad)
})
