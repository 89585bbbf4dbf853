import assert from 'node:assert/strict'
import test from 'node:test'
import { parseWhen } from './when.ts'

test('times are durations back, Unix seconds or dates', () => {
  const now = Date.UTC(2026, 0, 31, 12)
  assert.equal(parseWhen('since', '1h30m', now), now - 5_400_000)
  assert.equal(parseWhen('since', '500ms', now), now - 500)
  assert.equal(parseWhen('since', '1700000000.5', now), 1_700_000_000_500)
  assert.equal(parseWhen('since', '2026-01-31T12:00:00Z', now), now)
  for (const bad of ['', 'soon', '5 m', '10d', '2026-99-01'])
    assert.throws(() => parseWhen('since', bad, now), { code: 'usage' }, bad)
})
