import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { sleep, until } from '#sys'
import { Daemon } from '../daemon/daemon.ts'
import { type Identity, identityOf } from '../identity.ts'
import { checksum } from '../wire/icmp.ts'
import { gatewayOf, type NicNetwork } from './network.ts'
import { ICMPV6, ipv6Packet, TCP, UDP } from './packet.ts'

const GUEST_MAC = '027a6f730002'

/** A machine's end of its card: a unix socket with QEMU's framing. */
class Guest {
  readonly identity: Identity
  readonly secret = randomBytes(32)
  readonly path: string
  readonly received: Buffer[] = []
  #server: Server
  #socket: Socket | undefined

  constructor(t: TestContext, dir: string, name: string) {
    this.identity = identityOf(this.secret)
    this.path = join(dir, name)
    this.#server = this.#listen()
    t.after(() => this.leave())
  }

  #listen(): Server {
    rmSync(this.path, { force: true })
    return createServer((socket) => {
      this.#socket = socket
      let rest = Buffer.alloc(0)
      socket.on('error', () => {})
      socket.on('data', (data: Buffer) => {
        rest = Buffer.concat([rest, data])
        while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
          const length = rest.readUInt32BE()
          this.received.push(Buffer.from(rest.subarray(4, 4 + length)))
          rest = rest.subarray(4 + length)
        }
      })
    }).listen(this.path)
  }

  leave(): void {
    this.#socket?.destroy()
    this.#server.close()
    this.#socket = undefined
  }

  comeBack(): void {
    this.#server = this.#listen()
  }

  async attached(): Promise<void> {
    await until('the network plane', 3000, () => this.#socket !== undefined)
  }

  raw(bytes: Buffer): void {
    this.#socket!.write(bytes)
  }

  send(packet: Buffer): void {
    const frame = Buffer.concat([Buffer.alloc(4), Buffer.from(`027a6f730001${GUEST_MAC}86dd`, 'hex'), packet])
    frame.writeUInt32BE(frame.length - 4)
    this.raw(frame)
  }

  /** The packet of the next frame. */
  async next(ms = 3000): Promise<Buffer> {
    const frame = await until('a frame', ms, () => this.received.shift(), 2)
    assert.equal(frame.toString('hex', 0, 14), `${GUEST_MAC}027a6f73000186dd`)
    return frame.subarray(14)
  }

  async nothing(): Promise<void> {
    await sleep(150)
    assert.deepEqual(this.received, [])
  }
}

const tcp = (from: Identity, to: Identity, source: number, destination: number, length = 20): Buffer => {
  const segment = Buffer.alloc(length)
  segment.writeUInt16BE(source, 0)
  segment.writeUInt16BE(destination, 2)
  segment[12] = 0x50
  return ipv6Packet(from.address, to.address, TCP, segment, 16)
}

const networkOf = (...members: [string, Guest][]): NicNetwork => ({
  domain: 'shop.zos',
  members: members.map(([name, { identity }]) => ({ names: [name], address: identity.address })),
  ports: [{ protocol: 'tcp', port: 80 }],
})

const port = 20_000 + Math.floor(Math.random() * 12_000)

/** web and db of one network on two nodes, cache beside web, and a stranger beside db. */
async function twoNodes(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'zos-nic-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const [web, cache, db, stranger] = ['web', 'cache', 'db', 'stranger'].map((n) => new Guest(t, dir, n)) as [
    Guest,
    Guest,
    Guest,
    Guest,
  ]
  const network = networkOf(['web', web], ['cache', cache], ['db', db])
  const endpoint = { scheme: 'tcp', ip: '127.0.0.1', port } as const
  const one = await Daemon.start({ secret: randomBytes(32), listen: [endpoint], peers: [] })
  const two = await Daemon.start({ secret: randomBytes(32), listen: [], peers: [endpoint] })
  t.after(async () => {
    await one[Symbol.asyncDispose]()
    await two[Symbol.asyncDispose]()
  })
  const attach = (node: Daemon, { secret, path }: Guest, of: NicNetwork) =>
    node.attach({ secret, port: { kind: 'nic', path, network: of } })
  await attach(one, web, network)
  await attach(one, cache, network)
  await attach(two, db, network)
  await attach(two, stranger, networkOf(['web', web], ['stranger', stranger]))
  for (const guest of [web, cache, db, stranger]) await guest.attached()
  return { one, two, web, cache, db, stranger, network, attach }
}

test('cards of two nodes and of one: members reach declared ports and get answers, nobody else gets in', async (t) => {
  const { one, two, web, cache, db, stranger } = await twoNodes(t)

  await t.test('across nodes, and back', async () => {
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
    await web.nothing()
    const counted = async (node: Daemon) => ((await node.status()).packets as Record<string, number>)['foreign-source']
    assert.deepEqual([await counted(one), await counted(two)], [1, 1])
    cache.received.length = 0
    stranger.received.length = 0
  })
  await t.test('large packets go whole, and an echo comes back', async () => {
    // the question is asked by what went before
    await until('a large packet', 3000, async () => {
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
  assert.equal((await ask('db.shop.zos', 1)).readUInt16BE(6), 0, 'it exists, but has no A record')
  assert.equal((await ask('stranger.shop.zos')).readUInt16BE(2) & 15, 3)
  assert.equal((await ask('example.com')).readUInt16BE(2) & 15, 3)

  db.leave()
  await sleep(50)
  db.comeBack()
  await db.attached()
  web.send(tcp(web.identity, db.identity, 40_000, 80))
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
  await until('an answer after all that', 5000, async () => {
    web.send(tcp(web.identity, db.identity, 40_000, 80))
    await sleep(50)
    return db.received.length > 0
  })
})
