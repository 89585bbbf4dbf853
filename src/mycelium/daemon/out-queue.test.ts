import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { closeFd, readFd, socketPair } from '#sys'
import { seeded } from '../router/simulate.ts'
import { BODY_AT, frameLength, SOURCE_AT, writeDataHeader } from '../wire/frame.ts'
import { createOutQueue, shareOf } from './out-queue.ts'

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

test('who floods a queue loses its own packets: a sender that stays below its share loses none', () => {
  const [reading, writing] = socketPair('stream')
  try {
    const queue = createOutQueue()
    const sent = [0, 0, 0]
    const lost = [0, 0, 0]
    const LENGTH = BODY_AT + 1_400
    const put = (sender: number) => {
      const source = Buffer.alloc(8, sender + 4)
      sent[sender]!++
      const at = queue.reserve(LENGTH, false, shareOf(source, 0))
      if (at < 0) {
        lost[sender]!++
        return
      }
      writeDataHeader(queue.bytes, at, 1_400, 64)
      source.copy(queue.bytes, at + SOURCE_AT)
      queue.commit(at, LENGTH)
    }
    const into = Buffer.alloc(40 * LENGTH)
    for (let turn = 0; turn < 2_000; turn++) {
      // the line takes 40 packets a turn: one sender has ten times that to send, one a third of it, one a tenth
      for (let n = 0; n < 400; n++) put(0)
      for (let n = 0; n < 12; n++) put(1)
      for (let n = 0; n < 4; n++) put(2)
      assert.ok(queue.flush(writing) >= 0)
      readFd(reading, into, 0, into.length)
    }
    assert.ok(lost[0]! > 0.8 * sent[0]!, 'it did not flood')
    assert.deepEqual(lost.slice(1), [0, 0])
    // and all comes to an end: nothing is counted that is not there
    while (queue.waiting > 0) {
      queue.flush(writing)
      readFd(reading, into, 0, into.length)
    }
    let alone = 0
    while (queue.waiting < 500 << 10 && alone++ < 1_000) put(0)
    assert.ok(queue.waiting > 0.75 * (512 << 10), `${queue.waiting} bytes are all that one may have alone`)
  } finally {
    closeFd(reading)
    closeFd(writing)
  }
})

test('a large datagram is many packets at once, each quiet by itself: an idle queue takes them all, in either part', () => {
  const queue = createOutQueue()
  const source = Buffer.alloc(8, 4)
  for (let n = 0; n < 60; n++) {
    const at = queue.reserve(BODY_AT + 1_400, true, shareOf(source, 0))
    assert.ok(at >= 0, `packet ${n}`)
    writeDataHeader(queue.bytes, at, 1_400, 64)
    source.copy(queue.bytes, at + SOURCE_AT)
    queue.commit(at, BODY_AT + 1_400)
  }
})
