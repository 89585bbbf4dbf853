import assert from 'node:assert/strict'
import test from 'node:test'
import { doubt } from './doubt.ts'

test('a chain that went back is begun anew at once, one that stays behind after a minute', () => {
  const d = doubt()
  assert.ok(d.isDue('chain-went-back', 0))
  assert.ok(!d.isDue('chain-behind', 1000))
  assert.ok(!d.isDue('chain-behind', 61_000))
  assert.ok(d.isDue('chain-behind', 61_001))
})

test('a chain that is away at times has not caught up by that; one that was reached has', () => {
  const d = doubt()
  assert.ok(!d.isDue('chain-behind', 0))
  for (let at = 10_000; at < 60_000; at += 10_000) assert.ok(!d.isDue('rpc-disagree', at))
  assert.ok(d.isDue('chain-behind', 60_001), 'it was behind all that time')
  assert.ok(!d.isDue('rpc-disagree', 90_000), 'what is away says nothing of where it stands')
  d.trust()
  assert.ok(!d.isDue('chain-behind', 120_000))
})
