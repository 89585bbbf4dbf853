import assert from 'node:assert/strict'
import test from 'node:test'
import { sleep, until } from '#sys'
import { clockRate, tscKhz } from './guest-clock.ts'

test('the speed of the TSC is what Linux makes its bogomips of; what does not tell it is no speed', () => {
  assert.equal(tscKhz('model name\t: x\ncpu MHz\t\t: 1300.000\nbogomips\t: 5192.29\nflags\t\t: tsc\n'), 2_596_145)
  for (const none of ['', 'bogomips\t: 0.00\n', 'BogoMIPS\t: 50.00\n']) assert.equal(tscKhz(none), undefined)
})

/** A guest whose clock goes RATE times as fast as ours, and whose answers take DELAY milliseconds each way. */
const guest = (rate: number, delay = 0) => ({
  async lease() {
    await sleep(delay)
    const now = rate * performance.now()
    await sleep(delay)
    return { now }
  },
})

test('how fast a clock goes is known within bounds that hold however long the answers take', async () => {
  for (const [rate, delay] of [
    [1, 0],
    [13, 0],
    [0.5, 30],
  ] as const) {
    // narrow once no pause of loaded cores falls into the answers, and never wrong
    await until('narrow bounds', 60_000, async () => {
      const { least, most } = await clockRate(guest(rate, delay))
      assert.ok(least <= rate && rate <= most, `${least} ≤ ${rate} ≤ ${most}`)
      return most / least < 1.25
    })
  }
})
