import assert from 'node:assert/strict'
import test from 'node:test'
import { openTap } from '#sys'

test('a tap that is not there is named as one', { skip: process.getuid?.() !== 0 && 'taps need root' }, () => {
  const open = () => openTap('/proc/self/ns/net', 'zos-no-tap', { receive: 1 << 20, queue: 16 })
  assert.throws(open, /^ZosError: Find tap "zos-no-tap": no such device/)
})
