import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import test from 'node:test'
import { getHeapStatistics } from 'node:v8'
import { createRouter } from '../router/router.ts'
import { packetBuffer } from './offload.ts'
import { createOutQueue } from './out-queue.ts'
import { frame, linkWith, me, packet, you } from './plane.fixture.ts'
import { createPlane } from './plane.ts'
import { HEADROOM } from './plane-context.ts'

const PACKETS = 20_000
/** V8 says since Node 26 what it has allocated in all; older typings do not know it. */
const allocated = () => (getHeapStatistics() as unknown as { total_allocated_bytes: number }).total_allocated_bytes

/** A node that knows one other, over one link that takes all. */
function line() {
  const queue = createOutQueue()
  const connection = linkWith(queue)
  const router = createRouter({ owns: () => true, send: () => {} })
  const plane = createPlane({
    identity: me,
    router,
    connection: () => connection,
    intercept: () => false,
    message: () => false,
    demandOf: () => 'legacy',
    now: () => 0,
  })
  let taken = 0
  plane.node.port = { largest: 0, wholeSubnet: false, uncut: false, write: () => taken++, close: () => {} }
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  const routerId = `${you.publicKey.toString('hex')}${'0'.repeat(16)}`
  const prefix = { bytes: you.subnet, length: 64 }
  router.receive(1, { type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId }, 0)
  return { plane, queue, taken: () => taken }
}

/** Bytes allocated by each of PACKETS calls. */
function perPacket(act: () => void): number {
  const all = () => {
    for (let n = 0; n < PACKETS; n++) act()
  }
  // compiled by now
  all()
  all()
  const before = allocated()
  all()
  return (allocated() - before) / PACKETS
}

/** In 26.10 about 210 bytes out, 160 in: the numbers C is given, who it goes to and where it came from. Views were 1000 and 790. */
const MOST = 320

test('what a packet allocates on its way out is next to nothing, however large it is', (t) => {
  const nowhere = openSync('/dev/null', 'w')
  t.after(() => closeSync(nowhere))
  const { plane, queue } = line()
  const buffer = packetBuffer(2048)
  const [small, large] = [40, 1_300].map((size) => {
    const bytes = packet(me, you, Buffer.alloc(size))
    return perPacket(() => {
      bytes.copy(buffer.bytes, HEADROOM)
      plane.send(plane.node, buffer, HEADROOM, bytes.length)
      queue.flush(nowhere)
    })
  }) as [number, number]
  t.diagnostic(`${small.toFixed(0)} bytes for a packet of 80, ${large.toFixed(0)} for one of 1340`)
  assert.ok(small > 0, 'nothing is measured')
  assert.ok(large < MOST, `${large} bytes`)
  assert.ok(Math.abs(large - small) < 100, 'it grows with the packet')
})

test('nor on its way in', (t) => {
  const { plane, taken } = line()
  const bytes = frame(you, me, packet(you, me, Buffer.alloc(1_300)))
  const read = Buffer.alloc(4096)
  const each = perPacket(() => {
    bytes.copy(read, 100)
    plane.receive(read, 100, bytes.length)
  })
  t.diagnostic(`${each.toFixed(0)} bytes`)
  assert.equal(taken(), 3 * PACKETS)
  assert.ok(each > 0 && each < MOST, `${each} bytes`)
})
