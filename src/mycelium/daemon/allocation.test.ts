import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import test from 'node:test'
import { getHeapStatistics } from 'node:v8'
import { closeFd, readFd, socketPair, writeFd } from '#sys'
import { nicPort } from '../nic/port.ts'
import { createRouter } from '../router/router.ts'
import { packetBuffer, VNET_HEADER } from './offload.ts'
import { createOutQueue } from './out-queue.ts'
import { frame, linkWith, me, packet, you } from './plane.fixture.ts'
import { createPlane } from './plane.ts'
import { HEADROOM } from './plane-context.ts'
import { fdPort } from './ports.ts'
import { createReactor } from './reactor.ts'
import { madeUpNode } from './warm-up.ts'

/**
 * The smallest object has 16 bytes. V8 counts by the piece of memory it hands out, of up to 256 KiB: what it counts where nothing
 * is allocated is below 7 bytes for each of so many packets.
 */
const MOST = 12
const PACKETS = 40_000
/** The compiler's own objects count as well, until it is done with all that packets run through. */
const ROUNDS = 12

/** V8 says since Node 26 what it has allocated in all; older typings do not know it. */
const allocated = () => (getHeapStatistics() as unknown as { total_allocated_bytes: number }).total_allocated_bytes

/** Bytes allocated by each of PACKETS calls in the first round that has few enough, or else in the best. */
function perPacket(act: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS && least > MOST; round++) {
    const before = allocated()
    for (let n = 0; n < PACKETS; n++) act()
    least = Math.min(least, (allocated() - before) / PACKETS)
  }
  return least
}

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

let kept: object
test('an object made for each packet would be seen', () => {
  const each = perPacket(() => {
    kept = { made: true }
  })
  assert.ok(each > MOST, `${each} bytes`)
  assert.ok(kept)
})

test('no packet allocates on its way out, however large it is', (t) => {
  const nowhere = openSync('/dev/null', 'w')
  t.after(() => closeSync(nowhere))
  const { plane, queue } = line()
  const buffer = packetBuffer(2048)
  for (const size of [40, 1_300]) {
    const bytes = packet(me, you, Buffer.alloc(size))
    const each = perPacket(() => {
      bytes.copy(buffer.bytes, HEADROOM)
      plane.send(plane.node, buffer, HEADROOM, bytes.length)
      queue.flush(nowhere)
    })
    t.diagnostic(`${each.toFixed(1)} bytes for a packet of ${bytes.length}`)
    assert.ok(each < MOST, `${each} bytes for a packet of ${bytes.length}`)
  }
})

test('nor on its way in', (t) => {
  const { plane, taken } = line()
  const bytes = frame(you, me, packet(you, me, Buffer.alloc(1_300)))
  const read = Buffer.alloc(4096)
  const each = perPacket(() => {
    bytes.copy(read, 100)
    plane.receive(read, 100, bytes.length)
  })
  t.diagnostic(`${each.toFixed(1)} bytes`)
  assert.ok(taken() >= PACKETS)
  assert.ok(each < MOST, `${each} bytes`)
})

/** What a kernel or a machine writes to be sent: the packet behind what each puts before it. */
const ETHERNET = Buffer.from('027a6f730001027a6f73000286dd', 'hex')
function written(kind: 'tun' | 'card', bytes: Buffer): Buffer {
  if (kind === 'tun') return Buffer.concat([Buffer.alloc(VNET_HEADER), bytes])
  const head = Buffer.alloc(4)
  head.writeUInt32BE(ETHERNET.length + bytes.length)
  return Buffer.concat([head, ETHERNET, bytes])
}

for (const kind of ['tun', 'card'] as const)
  test(`nor between the ${kind}s of two nodes: read, sealed, written, read, opened and written`, (t) => {
    const reactor = createReactor()
    const [near, far] = socketPair('stream')
    const network = { domain: 'a.zos', members: [], ports: [{ protocol: 'udp' as const, port: 0 }] }
    const ends = [near, far].map((fd) => {
      const [inner, kernel] = socketPair(kind === 'tun' ? 'packets' : 'stream')
      const node = madeUpNode(reactor, fd, (hooks) =>
        kind === 'tun'
          ? fdPort(inner, hooks)
          : nicPort(
              { kind: 'nic', path: '', network },
              { ...hooks, openCard: (_card, done) => done({ kind: 'socket', fd: inner }) },
            ),
      )
      t.after(() => {
        node.plane.remove(node.plane.node)
        node.connection.close('')
        closeFd(kernel)
      })
      return { ...node, kernel }
    })
    t.after(() => closeFd(reactor.wakeFd))
    const [from, to] = ends as [(typeof ends)[0], (typeof ends)[0]]
    const members = ends.map(({ identity: { address } }) => ({ names: [], address }))
    for (const { plane } of ends) plane.node.port?.reform?.({ ...network, members })
    const bytes = written(kind, packet(from.identity, to.identity, Buffer.alloc(1_300)))
    const read = Buffer.alloc(bytes.length)
    let arrived = 0
    const each = perPacket(() => {
      writeFd(from.kernel, bytes, 0, bytes.length)
      for (let turn = 0; turn < 3; turn++) {
        reactor.turn(0)
        for (let end = 0; end < 2; end++) {
          ends[end]!.plane.flush()
          ends[end]!.connection.settle()
        }
      }
      if (readFd(to.kernel, read, 0, read.length) === read.length) arrived++
    })
    t.diagnostic(`${each.toFixed(1)} bytes`)
    assert.ok(arrived > PACKETS / 2, `${arrived} packets`)
    assert.deepEqual(to.plane.sealings(), { session: 1, legacy: 0, none: 0 })
    assert.ok(each < MOST, `${each} bytes`)
  })
