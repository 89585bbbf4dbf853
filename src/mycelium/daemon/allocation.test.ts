import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import test from 'node:test'
import { getHeapStatistics } from 'node:v8'
import { createRouter } from '../router/router.ts'
import { packetBuffer } from './offload.ts'
import { createOutQueue } from './out-queue.ts'
import { linkWith, me, packet, you } from './plane.fixture.ts'
import { createPlane } from './plane.ts'
import { HEADROOM } from './plane-context.ts'

const PACKETS = 20_000
/** V8 says since Node 26 what it has allocated in all; older typings do not know it. */
const allocated = () => (getHeapStatistics() as unknown as { total_allocated_bytes: number }).total_allocated_bytes

test('what a packet allocates on its way out are a few views, however large it is', (t) => {
  const nowhere = openSync('/dev/null', 'w')
  t.after(() => closeSync(nowhere))
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
  router.linkUp(1, { base: 10, rtt: 0 }, 0)
  const routerId = `${you.publicKey.toString('hex')}${'0'.repeat(16)}`
  const prefix = { bytes: you.subnet, length: 64 }
  router.receive(1, { type: 'update', interval: 30_000, seqno: 0, metric: 0, prefix, routerId }, 0)
  const buffer = packetBuffer(2048)
  const perPacket = (size: number): number => {
    const bytes = packet(me, you, Buffer.alloc(size))
    const send = () => {
      for (let n = 0; n < PACKETS; n++) {
        bytes.copy(buffer.bytes, HEADROOM)
        plane.send(plane.node, buffer, HEADROOM, bytes.length)
        queue.flush(nowhere)
      }
    }
    send() // compiled by now
    const before = allocated()
    send()
    return (allocated() - before) / PACKETS
  }
  const [small, large] = [perPacket(40), perPacket(1_300)]
  t.diagnostic(`${small.toFixed(0)} bytes for a packet of 80, ${large.toFixed(0)} for one of 1340`)
  assert.ok(small > 0, 'nothing is measured')
  assert.ok(large < 1_800, `${large} bytes`)
  assert.ok(Math.abs(large - small) < 300, 'it grows with the packet')
})
