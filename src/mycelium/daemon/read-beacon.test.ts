import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { readBeacon } from './read-beacon.ts'

const own = Buffer.alloc(32, 5)
const link = 'fe80::1'

/** As the public daemon lays it out (peer_manager.rs): magic, port, public key, zone and six random bytes. */
const beacon = (port: number, key: Buffer): Buffer =>
  Buffer.concat([Buffer.from('6d7963656c69756d', 'hex'), Buffer.from([port >> 8, port & 255]), key, Buffer.alloc(8, 9)])

test('a beacon names where to dial; of two nodes the one with the smaller key dials at once', () => {
  const smaller = readBeacon(beacon(9651, Buffer.alloc(32, 4)), link, own)
  const larger = readBeacon(beacon(9651, Buffer.alloc(32, 6)), link, own)
  assert.deepEqual(larger, { port: 9651, delay: 0 })
  assert.equal(smaller?.delay, 2_000)
})

test('everything else is none: cut short, too long, our own, no port, from elsewhere, rubbish', () => {
  const good = beacon(9651, Buffer.alloc(32, 6))
  for (let end = 0; end < good.length; end++) assert.equal(readBeacon(good.subarray(0, end), link, own), undefined)
  assert.equal(readBeacon(Buffer.concat([good, good]), link, own), undefined)
  assert.equal(readBeacon(beacon(9651, own), link, own), undefined)
  assert.equal(readBeacon(beacon(0, Buffer.alloc(32, 6)), link, own), undefined)
  for (const address of ['2001:db8::1', 'fe80:0:0:1::1', '::ffff:192.0.2.1', ''])
    assert.equal(readBeacon(good, address, own), undefined, address)
  for (let n = 0; n < 2_000; n++) assert.equal(readBeacon(randomBytes(50), link, own), undefined)
})
