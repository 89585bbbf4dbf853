import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { seeded } from '../router/simulate.ts'
import { BODY_AT, frameLength, writeDataHeader } from '../wire/frame.ts'
import { createOutQueue } from './out-queue.ts'

test('frames come out whole and in order per class, whatever the sizes', () => {
  const path = join(tmpdir(), `zos-queue-${process.pid}`)
  const fd = openSync(path, 'w')
  try {
    const random = seeded(5)
    const queue = createOutQueue()
    let next = 0
    let full = 0
    for (let round = 0; round < 400; round++) {
      for (let k = random(40); k > 0; k--) {
        const first = random(4) === 0
        const length = BODY_AT + 4 + random(first ? 300 : [300, 1500, 65_000][random(3)]!)
        const at = queue.reserve(length, first)
        if (at < 0) {
          full++
          continue
        }
        writeDataHeader(queue.bytes, at, length - BODY_AT, first ? 1 : 0)
        queue.bytes.writeUInt32BE(next++, at + BODY_AT)
        queue.commit(at, length)
      }
      if (random(3) === 0) assert.ok(queue.flush(fd) >= 0)
    }
    queue.flush(fd)
    assert.equal(queue.waiting, 0)
    assert.ok(full > 10, 'the queue was never full')
    const out = readFileSync(path)
    const last = [-1, -1]
    let count = 0
    for (let at = 0; at < out.length; count++) {
      const length = frameLength(out, at, out.length)
      assert.ok(length > 0)
      const kind = out[at + 7]!
      const number = out.readUInt32BE(at + BODY_AT)
      assert.ok(number > last[kind]!)
      last[kind] = number
      at += length
    }
    assert.equal(count, next)
  } finally {
    closeSync(fd)
    rmSync(path, { force: true })
  }
})
