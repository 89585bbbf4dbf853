import assert from 'node:assert/strict'
import test from 'node:test'
import { sleep } from '#sys'
import { createBucket } from './bucket.ts'
import { type Guest, tcp, twoNodes } from './guest.fixture.ts'

test('a bucket gives its rate, whatever the sizes, and a burst after a pause', () => {
  const bucket = createBucket(8_000, 0) // 1000 bytes per millisecond
  let now = 0
  let sent = 0
  while (now < 10_000) {
    const length = 1 + ((sent * 7919) % 30_000)
    sent += length
    if (!bucket.take(length, now)) now = bucket.paidAt()
  }
  assert.ok(Math.abs(sent - 10_000_000) < 100_000, `${sent}`)
})

test('a card sends what is booked for it, and its machine waits with the rest', async (t) => {
  const RATE = 8_000 // kilobits per second: 1000 bytes per millisecond
  const { one, web, db, network, attach } = await twoNodes(t)
  await one.detach(web.identity.publicKey.toString('hex'))
  await web.detached()
  await attach(one, web, { ...network, rate: RATE })
  await web.attached()
  const packet = tcp(web.identity, db.identity, 40_000, 80, 1_300)
  web.send(packet)
  await db.next() // keys are agreed on by now
  const begun = performance.now()
  for (let n = 0; n < 1_000; n++) web.send(packet)
  while (db.received.length < 1_000 && performance.now() - begun < 60_000) await sleep(5)
  assert.equal(db.received.length, 1_000, 'nothing is lost')
  const took = performance.now() - begun
  const due = (1_000 * packet.length - (64 << 10)) / 1_000
  assert.ok(took > due * 0.95, `${took} ms, not before ${due}`)
  const { identities } = (await one.status()) as { identities: { publicKey: string; sent?: number }[] }
  const own = identities.find((i) => i.publicKey === web.identity.publicKey.toString('hex'))
  assert.equal(own?.sent, 1_001 * packet.length)
})

/** Of five seconds each. */
const ROUNDS = 6
const nightly = { skip: process.env.ZOS_NIGHTLY ? false : 'a measure of seconds on a quiet machine: ZOS_NIGHTLY=1' }

test('two slots of 50 Mbit/s that send all they can over one link get 50 ± 5 each', nightly, async (t) => {
  const { one, web, cache, db, network, attach } = await twoNodes(t)
  for (const guest of [web, cache]) {
    await one.detach(guest.identity.publicKey.toString('hex'))
    await guest.detached()
    await attach(one, guest, { ...network, rate: 50_000 })
    await guest.attached()
  }
  const SIZE = 1_400
  const packets = new Map(
    [web, cache].map((guest): [Guest, Buffer] => [guest, tcp(guest.identity, db.identity, 40_000, 80, SIZE - 40)]),
  )
  for (const [guest, packet] of packets) guest.send(packet)
  await db.next()
  await db.next()
  // 80 Mbit/s each, what a late timer missed included
  const start = performance.now()
  let sent = 0
  const flood = setInterval(() => {
    for (const due = ((performance.now() - start) * 10_000) / SIZE; sent < due; sent++)
      for (const [guest, packet] of packets) guest.send(packet)
  }, 10)
  await sleep(1_000)
  const measured = async () => {
    db.received.length = 0
    const begun = performance.now()
    await sleep(5_000)
    const frames = db.received.splice(0)
    const seconds = (performance.now() - begun) / 1000
    return [web, cache].map(({ identity }) => {
      const own = frames.filter((frame) => frame.subarray(14 + 8, 14 + 24).equals(identity.address))
      return (own.length * SIZE * 8) / 1e6 / seconds
    })
  }
  // a machine that has other work sends less than it could: never more than is booked, and all of it in one of some rounds
  const rounds: number[][] = []
  while (rounds.length < ROUNDS && !rounds.some((rates) => rates.every((rate) => rate >= 45)))
    rounds.push(await measured())
  clearInterval(flood)
  const said = rounds.map((rates) => rates.map((r) => r.toFixed(1)).join(' and ')).join('; ')
  assert.ok(
    rounds.flat().every((rate) => rate <= 55),
    said,
  )
  assert.ok(
    rounds.at(-1)!.every((rate) => rate >= 45),
    said,
  )
})
