import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { OutputLog, readOutput } from './output-log.ts'

const text = (path: string) => Buffer.concat([...readOutput(path)].map((r) => r.bytes)).toString()

test('records come back, a repeated one is not doubled, a torn one is cut off at every byte', () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-log-'))
  const path = join(dir, 'output.log')
  const log = new OutputLog(path)
  log.append(1, 0, Buffer.from('one '))
  log.append(2, 4, Buffer.from('two '))
  log.append(1, 2, Buffer.from('e two three ')) // the guest did not see the acknowledgement of the first 8 bytes
  assert.equal(log.end, 14)
  log.close()
  assert.equal(text(path), 'one two three ')
  const whole = statSync(path).size
  for (let cut = whole - 1; cut > whole - 27; cut--) {
    truncateSync(path, cut)
    const again = new OutputLog(path)
    assert.equal(again.end, 8)
    again.append(1, 8, Buffer.from('three '))
    again.close()
    assert.equal(text(path), 'one two three ')
  }
  appendFileSync(path, Buffer.from([1, 255, 255]))
  assert.equal(text(path), 'one two three ')
  rmSync(dir, { recursive: true })
})

test('its end is found whatever lies before: records of all sizes, within a piece that is read, across two, larger than one', () => {
  const dir = mkdtempSync(join(tmpdir(), 'zos-log-'))
  const path = join(dir, 'output.log')
  let end = 0
  for (let n = 0; n < 400; n++) {
    const log = new OutputLog(path)
    assert.equal(log.end, end)
    const bytes = Buffer.alloc(n % 50 === 49 ? 9000 + n : 1 + ((n * 37) % 211), n)
    log.append(1, end, bytes)
    end += bytes.length
    log.close()
  }
  rmSync(dir, { recursive: true })
})
