import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'
import { sleep, until } from '#sys'
import type { Daemon } from '../daemon/daemon.ts'
import { checksum } from '../wire/icmp.ts'
import { LIMIT, tcp, twoNodes } from './guest.fixture.ts'
import { gatewayOf, ipv4OfSlot } from './network.ts'
import { ICMPV6, ipv6Packet, UDP } from './packet.ts'

test('cards of two nodes and of one: members reach declared ports and get answers, nobody else gets in', async (t) => {
  const { one, two, web, cache, db, stranger, network, attach } = await twoNodes(t)

  await t.test('a key that is attached already is refused in one line', async () => {
    await assert.rejects(
      attach(one, web, network),
      /^ZosError: Attach identity [0-9a-f:]+: it is attached already; detach/,
    )
  })
  await t.test('a packet goes from card to card across nodes, and its answer back', async () => {
    web.send(tcp(web.identity, db.identity, 40_000, 80))
    const syn = await db.next()
    assert.deepEqual(syn.subarray(8, 40), Buffer.concat([web.identity.address, db.identity.address]))
    db.send(tcp(db.identity, web.identity, 80, 40_000))
    assert.equal((await web.next()).readUInt16BE(42), 40_000)
  })
  await t.test('beside each other, without a peer', async () => {
    cache.send(tcp(cache.identity, web.identity, 40_000, 80))
    assert.equal((await web.next())[7], 63)
  })
  await t.test('a port that is not declared is refused, aloud', async () => {
    for (const from of [cache, db]) {
      from.send(tcp(from.identity, web.identity, 40_001, 81))
      const error = await from.next()
      assert.deepEqual([error[6], error[40], error[41]], [ICMPV6, 1, 1])
      assert.deepEqual(
        error.subarray(48, 48 + 60).subarray(8, 40),
        Buffer.concat([from.identity.address, web.identity.address]),
      )
    }
    await web.nothing()
  })
  await t.test('an answer does not open its port for others', async () => {
    web.send(tcp(web.identity, db.identity, 41_000, 80))
    await db.next()
    cache.send(tcp(cache.identity, web.identity, 80, 41_000))
    assert.equal((await cache.next())[41], 1)
    await web.nothing()
  })
  await t.test('a stranger is not heard, whatever its own node lets it do', async () => {
    stranger.send(tcp(stranger.identity, web.identity, 40_002, 80))
    await web.nothing()
    await stranger.nothing()
    stranger.send(tcp(stranger.identity, db.identity, 40_002, 80))
    assert.equal((await stranger.next())[41], 1, 'its own node refuses who is no member')
  })
  await t.test('nobody speaks in the name of another', async () => {
    cache.send(tcp(db.identity, web.identity, 40_003, 80))
    stranger.send(tcp(db.identity, web.identity, 40_003, 80))
    const counted = async (node: Daemon) => ((await node.status()).packets as Record<string, number>)['foreign-source']
    for (const node of [one, two]) await until('it to be counted', LIMIT, async () => (await counted(node)) === 1)
    await web.nothing()
    cache.received.length = 0
    stranger.received.length = 0
  })
  await t.test('large packets go whole, and an echo comes back', async () => {
    // the question is asked by what went before
    await until('a large packet', LIMIT, async () => {
      web.send(tcp(web.identity, db.identity, 40_000, 80, 30_000))
      return until('it', 200, () => db.received.find((f) => f.length > 30_000)).catch(() => undefined)
    })
    await sleep(50)
    db.received.length = 0
    const echo = Buffer.from([128, 0, 0, 0, 0, 7, 0, 1])
    web.send(ipv6Packet(web.identity.address, gatewayOf(web.identity.address), ICMPV6, echo, 2))
    assert.equal((await web.next())[40], 129)
  })
})

test('names, a machine that leaves and comes back, and one that talks nonsense', async (t) => {
  const { web, db, two, network, attach } = await twoNodes(t)
  const gateway = gatewayOf(web.identity.address)
  const ask = async (name: string, type = 28) => {
    const labels = name.split('.').map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)]))
    const query = Buffer.concat([
      Buffer.from('123401000001000000000000', 'hex'),
      ...labels,
      Buffer.from([0, 0, type, 0, 1]),
    ])
    const head = Buffer.alloc(8)
    head.writeUInt16BE(5353, 0)
    head.writeUInt16BE(53, 2)
    head.writeUInt16BE(8 + query.length, 4)
    web.send(ipv6Packet(web.identity.address, gateway, UDP, Buffer.concat([head, query]), 6))
    const reply = await web.next()
    assert.equal(reply.readUInt16BE(42), 5353)
    assert.equal(checksum(reply, 40, reply.length, checksum(reply, 8, 40, reply.length - 40 + UDP)), 0xffff)
    return reply.subarray(48)
  }
  const found = await ask('DB.shop.zos')
  assert.equal(found.readUInt16BE(2) & 0x800f, 0x8000)
  assert.deepEqual(found.subarray(-16), db.identity.address)
  const a = await ask('db.shop.zos', 1)
  assert.deepEqual([a.readUInt16BE(6), a.readUInt32BE(a.length - 4)], [1, ipv4OfSlot(2)])
  assert.equal((await ask('db.shop.zos', 16)).readUInt16BE(6), 0, 'it exists, but has no text')
  assert.equal((await ask('stranger.shop.zos')).readUInt16BE(2) & 15, 3)
  assert.equal((await ask('example.com')).readUInt16BE(2) & 15, 3)

  db.leave()
  await sleep(50)
  db.comeBack()
  await db.attached()
  const arrives = async () => {
    web.send(tcp(web.identity, db.identity, 40_000, 80))
    await sleep(50)
    return db.received.length > 0
  }
  // the packet thread is given the card a moment after the machine sees it connected: what comes before is lost
  await until('a frame for who came back', LIMIT, arrives)
  await db.next()

  db.raw(Buffer.from('ffffffff00', 'hex'))
  for (let n = 0; n < 200; n++) {
    const noise = randomBytes(Math.floor(Math.random() * 200) + 14)
    if (n % 2) noise.writeUInt16BE(0x86dd, 12)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(noise.length)
    web.raw(Buffer.concat([length, noise]))
  }
  web.received.length = 0
  assert.equal(await two.detach(db.identity.publicKey.toString('hex')), true)
  await attach(two, db, network)
  db.received.length = 0
  await until('an answer after all that', LIMIT, arrives)
})
