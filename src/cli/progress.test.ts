import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { progressLine, rateText } from './progress.ts'

/** What a stream was written, where `now` is the clock's milliseconds. */
function shown(isTTY: boolean) {
  const at = { now: 1000 }
  mock.method(performance, 'now', () => at.now)
  const said: string[] = []
  const out = { isTTY, write: (text: string) => said.push(text) > 0 } as unknown as NodeJS.WriteStream
  return { at, said, line: progressLine(out), [Symbol.dispose]: () => mock.restoreAll() }
}

test('on a terminal one line rewrites itself and is gone at the end', () => {
  using it = shown(true)
  it.line.show('one')
  it.line.show('two')
  it.line.done()
  assert.deepEqual(it.said, ['\r\x1b[Kone', '\r\x1b[Ktwo', '\r\x1b[K'])
})

test('elsewhere there is a plain line every three seconds, and none for what takes less', () => {
  using it = shown(false)
  for (const now of [1000, 3999, 4001, 4002, 7000, 7002]) {
    it.at.now = now
    it.line.show(`at ${now}`)
  }
  it.line.done()
  assert.deepEqual(it.said, ['at 4001\n', 'at 7002\n'])
})

test('bytes, rate and time left; without a total, no time left', () => {
  using it = shown(true)
  it.at.now = 3000
  assert.equal(rateText(10 << 20, 30 << 20, 1000), '10.0 MiB of 30.0 MiB, 5.0 MiB/s, 4 s left')
  assert.equal(rateText(10 << 20, undefined, 1000), '10.0 MiB, 5.0 MiB/s')
  assert.equal(rateText(0, 30 << 20, 3000), '0 B of 30.0 MiB, 0 B/s')
  assert.equal(rateText(40 << 20, 30 << 20, 1000), '40.0 MiB of 30.0 MiB, 20.0 MiB/s, 0 s left')
})
