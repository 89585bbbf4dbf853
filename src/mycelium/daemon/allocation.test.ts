import assert from 'node:assert/strict'
import { closeSync, openSync } from 'node:fs'
import test from 'node:test'
import { getHeapStatistics } from 'node:v8'
import { closeFd, readFd, socketPair, writeFd } from '#sys'
import { subnetOf } from '../address.ts'
import type { Identity } from '../identity.ts'
import { TCP } from '../nic/packet.ts'
import { nicPort } from '../nic/port.ts'
import { createRouter } from '../router/router.ts'
import { IPV6_HEADER } from '../wire/icmp.ts'
import { packetBuffer, VNET_HEADER, writeGso } from './offload.ts'
import { createOutQueue } from './out-queue.ts'
import { frame, linkWith, me, packet, you } from './plane.fixture.ts'
import { createPlane } from './plane.ts'
import { HEADROOM } from './plane-context.ts'
import { fdPort } from './ports.ts'
import { createReactor } from './reactor.ts'
import { madeUpNode } from './warm-up.ts'

/**
 * The smallest object has 16 bytes. V8 counts by the piece of memory it hands out, of up to 256 KiB: what it counts where nothing
 * is allocated is below 11 bytes for each of so many packets.
 */
const MOST = 12
const PACKETS = 25_000
/** The compiler's own objects count as well, until it is done with all that packets run through. */
const ROUNDS = 20

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

test('nor for two addresses that are remembered in one place, as one pair in 256 is', (t) => {
  const addresses = ['0400000000000000', '0400000100000001'].map((subnet) => Buffer.from(subnet, 'hex'))
  let known = 0
  const each = perPacket(() => {
    for (const address of addresses) if (subnetOf(address).length === 16) known++
  })
  t.diagnostic(`${each.toFixed(1)} bytes`)
  assert.ok(known >= 2 * PACKETS)
  assert.ok(each < MOST, `${each} bytes`)
})

test('nor on its way in', (t) => {
  const { plane, taken } = line()
  const bytes = frame(you, me, packet(you, me, Buffer.alloc(1_300)))
  const read = Buffer.alloc(4096)
  const each = perPacket(() => {
    bytes.copy(read, 100)
    plane.receive(read, 100, bytes.length, 1)
  })
  t.diagnostic(`${each.toFixed(1)} bytes`)
  assert.ok(taken() >= PACKETS)
  assert.ok(each < MOST, `${each} bytes`)
})

const ETHERNET = Buffer.from('027a6f730001027a6f73000286dd', 'hex')
/** Through which ports, and what a kernel or a machine writes there to have a packet sent. */
const LINES = {
  'the TUNs of two nodes': (from: Identity, to: Identity) =>
    Buffer.concat([Buffer.alloc(VNET_HEADER), packet(from, to, Buffer.alloc(1_300))]),
  'the TUNs of two nodes, too large for one frame of others': (from: Identity, to: Identity) => {
    const bytes = Buffer.concat([Buffer.alloc(VNET_HEADER), packet(from, to, Buffer.alloc(5_000))])
    bytes[VNET_HEADER + 6] = TCP
    bytes.writeUInt16BE(0x5010, VNET_HEADER + IPV6_HEADER + 12)
    writeGso(packetBuffer(bytes.length, bytes), VNET_HEADER, IPV6_HEADER + 20, 5_000, 1_300)
    return bytes
  },
  'the cards of two workloads': (from: Identity, to: Identity) => {
    const bytes = packet(from, to, Buffer.alloc(1_300))
    const head = Buffer.alloc(4)
    head.writeUInt32BE(ETHERNET.length + bytes.length)
    return Buffer.concat([head, ETHERNET, bytes])
  },
}

for (const [name, written] of Object.entries(LINES))
  test(`nor between ${name}: read, sealed, written, read, opened and written`, (t) => {
    const isCard = name.includes('cards')
    const reactor = createReactor()
    const [near, far] = socketPair('stream')
    const network = { domain: 'a.zos', members: [], ports: [{ protocol: 'udp' as const, port: 0 }] }
    const ends = [near, far].map((fd) => {
      const [inner, kernel] = socketPair(isCard ? 'stream' : 'packets')
      const node = madeUpNode(reactor, fd, (hooks) =>
        isCard
          ? nicPort(
              { kind: 'nic', path: '', network },
              { ...hooks, openCard: (_card, done) => done({ kind: 'socket', fd: inner }) },
            )
          : fdPort(inner, hooks),
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
    const bytes = written(from.identity, to.identity)
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
