import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sleep } from '#sys'
import { setClock } from './clock.ts'

/** A guest whose clock is OFF milliseconds behind ours, and whose answers take DELAY each way; gives what it was moved by. */
async function moved(off: number, delay = 0): Promise<number[]> {
  const moves: number[] = []
  const clock = async (by: number) => {
    await sleep(delay)
    const time = Date.now() - off
    if (by !== 0) moves.push(by)
    await sleep(delay)
    return { time }
  }
  await setClock({ clock })
  return moves
}

test('a clock is set by what it is off, unless that is less than the answer leaves in doubt', async () => {
  for (const off of [20_000, -3_600_000]) {
    const [by, ...more] = await moved(off, 20)
    assert.ok(Math.abs(by! - off) < 500, `${by} of ${off}`)
    assert.deepEqual(more, [])
  }
  assert.deepEqual(await moved(1), [])
  assert.deepEqual(await moved(40, 100), [])
  await setClock({ clock: () => Promise.reject(new Error('no method "clock"')) })
})
