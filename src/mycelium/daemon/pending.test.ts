import assert from 'node:assert/strict'
import test from 'node:test'
import { createPending } from './pending.ts'

const TOTAL = 4 << 20
const frame = Buffer.alloc(60_000)
const subnet = (n: number) => `04${n.toString(16).padStart(14, '0')}`

test('of what waits for routes a host leaves others a part, and no frame goes beyond the limit of all', () => {
  const pending = createPending()
  let n = 0
  while (pending.putFrame(subnet(n), frame, 'one')) n++
  assert.ok(pending.bytes <= (TOTAL * 4) / 5 && pending.bytes > (TOTAL * 4) / 5 - 2 * frame.length, `${pending.bytes}`)
  let host = 0
  while (pending.putFrame(subnet(n), frame, `${host++}`)) n++
  assert.ok(host > 10)
  assert.ok(pending.bytes <= TOTAL, `${pending.bytes} of ${TOTAL}`)
  while (n >= 0) pending.take(subnet(n--))
  assert.equal(pending.bytes, 0)
})
